# `make` alone lists the targets. Those that need .venv set it up first; that is a no-op when nothing changed.
# The Python of .venv or else the first CPython 3.11, 3.12 or 3.13; PYTHON=/path/to/python names another.
SUPPORTED := import sys; sys.exit(sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in $$(.venv/bin/python -c 'import sys; print(sys._base_executable)' 2>/dev/null) python3 python3.13 python3.12 python3.11; do $$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
# Where pip looks for torch beside the default index, such as PyTorch's index of CPU builds; .venv remembers it.
TORCH_INDEX ?= $(shell cat .venv/.installed 2>/dev/null)
PORT ?= 5000
SERVE_PORT ?= 5001
SWEEP ?= small
ARGS ?=

BIN := .venv/bin
SETUP := .venv/.installed
RUN := $(BIN)/python -m pipeline
# A process for each core, with one thread each (tests/conftest.py), and one more: they wait for
# servers, timers and each other a fifth of the time.
PARALLEL = --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --dist worksteal
# The quickstart's inputs, unless a model or a dataset is named.
INPUTS := $(if $(MODEL)$(DATASET),$(if $(MODEL),model=$(MODEL)) $(if $(DATASET),dataset=$(DATASET)),experiment=quickstart)

# Who names another Python, or another index for torch, gets another .venv.
typed = $(filter command,$(firstword $(origin $1)))
SAME := $(shell \
  $(if $(call typed,PYTHON),test "$$(.venv/bin/python --version 2>&1)" = "$$($(PYTHON) --version 2>&1)",true) && \
  $(if $(call typed,TORCH_INDEX),test "$$(cat $(SETUP) 2>&1)" = "$(TORCH_INDEX)",true) && echo yes)

.DEFAULT_GOAL := help
.PHONY: help setup assets quickstart train sweep compare ui server bench promote serve measure study test test-all lint format lock audit clean clean-cache FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## make .venv with CPython 3.11, 3.12 or 3.13 and install the project at the versions in constraints/

$(SETUP): pyproject.toml $(wildcard constraints/*.txt) $(if $(SAME),,FORCE)
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null || \
	  { echo "error: CPython 3.11, 3.12 or 3.13 is needed, and $(if $(PYTHON),$(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not found),none was found). Name one with PYTHON=/path/to/python3." >&2; exit 2; }
	@echo "setting up .venv with $$($(PYTHON) --version): 0.6 GB to download and 2.7 GB on disk with the CPU build of torch,"
	@echo "3.2 GB and 7.4 GB with the CUDA build, which PyPI has for Linux; TORCH_INDEX=URL with PyTorch's index of CPU builds avoids that"
	@$(if $(SAME),,rm -f .venv/bin/python)
	@$(call install,.venv,$(PYTHON)) --constraint constraints/$$($(VERSION)).txt --editable '.[dev,openvino,server]'
	@$(call neural_compressor,.venv) --constraint constraints/$$($(VERSION)).txt
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
	@echo "$(TORCH_INDEX)" > $@

VERSION = $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'
# Compiled above, on all cores: a run imports ten thousand files, which takes 9 s then and 19 s from source.
# (1: folder, 2: Python) Make a virtual environment, unless the folder has one of this Python, and install into it.
install = $2 -m venv $$(test "$$($1/bin/python --version 2>/dev/null)" = "$$($2 --version)" || echo --clear) $1 && \
  $1/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# (1: folder) The metadata of neural-compressor 3.7.1 asks for numpy < 2, which Python 3.13 has no wheel of; below 3.13 it is there already.
neural_compressor = $1/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps 'neural-compressor>=3.7.1,<3.8'

assets: $(SETUP) ## fetch the quickstart's encoder and corpus into assets/
	@$(BIN)/python -m pipeline.assets

quickstart: assets ## fine-tune, quantize and measure a small model on review snippets; needs no model hub
	@$(RUN) experiment=quickstart $(ARGS)

train: $(SETUP) ## the article's task: bert-tiny on emotion, from the Hugging Face Hub (ARGS="KEY=VALUE ..." to change it)
	@$(RUN) model=bert_tiny dataset=emotion $(ARGS)

sweep: assets ## run a named sweep of conf/sweep/ (SWEEP=small), on the quickstart's inputs or MODEL=... and DATASET=...
	@$(RUN) -m sweep=$(SWEEP) $(INPUTS) $(ARGS)

compare: $(SETUP) ## compare the runs of the last sweep (ARGS="--sweep ID --format html" for another, as a page)
	@$(BIN)/python -m pipeline.compare $(or $(ARGS),--sweep latest)

ui: $(SETUP) ## serve the MLflow UI on 127.0.0.1, on the newest runs (PORT=5000)
	@$(BIN)/python -m pipeline.ui --port $(PORT)

server: $(SETUP) ## serve a tracking server for a team on 127.0.0.1: PostgreSQL, and artifacts behind it (PORT=5000)
	@$(BIN)/python -m pipeline.server --port $(PORT) $(ARGS)

bench: $(SETUP) ## time the artifacts of the newest run (the quickstart's, after make quickstart) side by side
	@$(BIN)/python -m pipeline.bench $(ARGS)

promote: $(SETUP) ## make the model of ARGS=RUN_ID the champion, if it passes conf/gate/default.yaml
	@$(BIN)/python -m pipeline.promote $(ARGS)

serve: $(SETUP) ## serve the champion on 127.0.0.1 (SERVE_PORT=5001)
	@$(BIN)/python -m pipeline.serve --port $(SERVE_PORT) $(ARGS)

measure: assets ## measure what docs/measurements.md quotes (an hour and a half on 2 cores)
	@for script in $(filter-out benchmarks/study.py,$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$script || exit; done

study: assets ## measure the recipes: few texts, teachers, layers, QAT (hours; goes on where it was stopped; ARGS="--part recipe --corpus NAME=DIR")
	@$(BIN)/python benchmarks/study.py $(ARGS)

test: $(SETUP) ## run what a change usually breaks: unit tests and one whole run of a micro model
	@$(BIN)/python -m pytest $(PARALLEL) -m "not e2e or smoke" $(ARGS)

test-all: $(SETUP) ## run all tests
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

lint: $(SETUP) ## check format, lint, import contracts, types and spelling
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy
	@$(BIN)/codespell

format: $(SETUP) ## format, and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## resolve pyproject.toml anew for PYTHON and write its file in constraints/ (ARGS="torch==2.13.0" holds a version)
	@$(call install,.venv-lock,$(PYTHON)) --editable '.[dev,openvino,ray,server,slurm,spark]' $(ARGS)
	@$(call neural_compressor,.venv-lock)
	@{ echo "# Every package of the environment, exactly; torch brings its own nvidia-*, cuda-* and triton."; \
	   echo "# Written by \`make lock PYTHON=python$$($(VERSION))$(if $(ARGS), ARGS=\"$(ARGS)\")\`."; \
	   .venv-lock/bin/python -m pip freeze --all --exclude-editable | sed 's/+cpu$$//' | grep -Ev '^(pip|nvidia-[a-z0-9-]*|cuda-[a-z]*|triton)==' | sort -f; } > constraints/$$($(VERSION)).txt
	@rm -rf .venv-lock

audit: $(SETUP) ## look up known advisories for every package of .venv (ARGS="--vulnerability-service osv" asks osv.dev)
	@answer=$$($(BIN)/python -m pip_audit --local --skip-editable --progress-spinner off $(ARGS) 2>&1); code=$$?; \
	  case "$$answer" in \
	    *Traceback*|*"not be audited: transformers "*) echo "error: no index of advisories answers at PyPI, or at osv.dev with ARGS=\"--vulnerability-service osv\"." >&2; exit 2;; \
	    *) echo "$$answer"; exit $$code;; \
	  esac

clean-cache: $(SETUP) ## remove what runs share: tokenized corpora, linear models, teachers and their answers
	@$(BIN)/python -c 'from pipeline.data.cache import cache_folder, clear; cleared = clear(); print(f"removed {cleared.entries} entries, {cleared.size_mb:.0f} MB, from {cache_folder()}")'

clean: ## remove caches and Hydra's outputs; keeps .venv, assets and mlruns
	@rm -rf outputs .hypothesis .pytest_cache .mypy_cache .ruff_cache *.egg-info
	@find pipeline tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
