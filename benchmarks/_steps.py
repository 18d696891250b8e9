"""Train a 2-layer MiniLM shape for some seconds, and print the median of a step in ms.

python benchmarks/_steps.py SECONDS [prepared]
"""

import statistics
import sys
import time

if "prepared" in sys.argv:
    from pipeline.console import third_parties

    third_parties.prepare()

import torch
from transformers import BertConfig, BertForSequenceClassification

WARM_UP_STEPS = 3
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


def step() -> float:
    """Do one training step; return its time in ms."""
    started = time.perf_counter()
    model(input_ids=ids, labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return (time.perf_counter() - started) * 1e3


for _ in range(WARM_UP_STEPS):
    step()
times: list[float] = []
end = time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < end:
    times.append(step())
print(statistics.median(times))
