"""Read, split, digest and tokenize a corpus as a run does: _read_corpus.py FILE TOKENIZER."""

import os
import sys
import tempfile
import time

from pipeline.console import third_parties

third_parties.prepare()

from pipeline.config.schema import DatasetConfig, ModelConfig
from pipeline.data.corpus import load_corpus

scratch = tempfile.TemporaryDirectory()
os.environ["HF_DATASETS_CACHE"] = scratch.name  # no tokens of an earlier time
config = DatasetConfig(name="large", train_file=sys.argv[1])
started = time.perf_counter()
corpus = load_corpus(config)
read = time.perf_counter()
corpus.digests  # noqa: B018
digested = time.perf_counter()

import pipeline.run  # noqa: F401 (torch and transformers are part of a run's memory)
from pipeline.data.tokens import tokenize
from pipeline.models.load import load_tokenizer
from pipeline.reports.corpus import describe

tokenizer = load_tokenizer(ModelConfig(sys.argv[2]), config.max_length)
imported = time.perf_counter()
tokens = tokenize(corpus, tokenizer, config)
tokenized = time.perf_counter()
describe(corpus, tokens, config.max_length)
described = time.perf_counter()
print(
    f"read {read - started:.1f} s, digested {digested - read:.1f} s, "
    f"tokenized {tokenized - imported:.1f} s, described {described - tokenized:.1f} s"
)
