"""Train a 2-layer MiniLM shape a few steps for each line of stdin, and print the ms of a step.

python benchmarks/_steps.py [prepared]
"""

import sys
import time

if "prepared" in sys.argv:
    from pipeline.console import third_parties

    third_parties.prepare()

import torch
from transformers import BertConfig, BertForSequenceClassification

STEPS = 4
BATCH, TOKENS = 32, 24

torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        hidden_size=384,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=1536,
        attn_implementation="eager",
    )
)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
ids = torch.randint(0, model.config.vocab_size, (BATCH, TOKENS))
labels = torch.randint(0, 2, (BATCH,))

for _ in sys.stdin:
    started = time.perf_counter()
    for _ in range(STEPS):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print((time.perf_counter() - started) * 1e3 / STEPS, flush=True)
