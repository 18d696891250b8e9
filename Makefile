# `make` alone lists the targets. Every target sets up .venv first; that is a no-op when nothing changed.
PYTHON ?= python3.11
PORT ?= 5000
SERVE_PORT ?= 5001
SWEEP ?= small
ARGS ?=

BIN := .venv/bin
SETUP := .venv/.installed
RUN := $(BIN)/python -m pipeline
# A process for each core, with one thread each (tests/conftest.py).
PARALLEL := --numprocesses auto
# The quickstart's inputs, unless a model or a dataset is named.
INPUTS := $(if $(MODEL)$(DATASET),$(if $(MODEL),model=$(MODEL)) $(if $(DATASET),dataset=$(DATASET)),experiment=quickstart)

.DEFAULT_GOAL := help
.PHONY: help setup assets quickstart train sweep compare ui bench promote serve measure study test test-all lint format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## make .venv with CPython 3.11 and install the project at the versions in constraints.txt

$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "error: CPython 3.11 is needed; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not found). Name one with PYTHON=/path/to/python3.11." >&2; exit 2; }
	@echo "setting up .venv: about 2 GB, a minute or two"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev,openvino]'
	@touch $@

assets: $(SETUP) ## fetch the quickstart's encoder and corpus into assets/
	@$(BIN)/python -m pipeline.assets

quickstart: assets ## fine-tune, quantize and measure a small model on review snippets; needs no model hub
	@$(RUN) experiment=quickstart $(ARGS)

train: $(SETUP) ## the article's task: bert-tiny on emotion, from the Hugging Face Hub (ARGS="KEY=VALUE ..." to change it)
	@$(RUN) model=bert_tiny dataset=emotion $(ARGS)

sweep: assets ## run a named sweep of conf/sweep/ (SWEEP=small), on the quickstart's inputs or MODEL=... DATASET=...
	@$(RUN) -m sweep=$(SWEEP) $(INPUTS) $(ARGS)

compare: $(SETUP) ## compare the runs of the last sweep (ARGS="--sweep ID --format html" for another, as a page)
	@$(BIN)/python -m pipeline.compare $(or $(ARGS),--sweep latest)

# MLflow 3.17 opens on its GenAI pages unless the address says otherwise.
ui: $(SETUP) ## serve the MLflow UI on 127.0.0.1 (PORT=5000)
	@echo "open http://127.0.0.1:$(PORT)/#/experiments?workflowType=machine_learning"
	@$(BIN)/mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db --host 127.0.0.1 --port $(PORT)

bench: $(SETUP) ## time the artifacts of the newest run (the quickstart's, after make quickstart) side by side
	@$(BIN)/python -m pipeline.bench $(ARGS)

promote: $(SETUP) ## make the model of ARGS=RUN_ID the champion, if it passes conf/gate/default.yaml
	@$(BIN)/python -m pipeline.promote $(ARGS)

serve: $(SETUP) ## serve the champion on 127.0.0.1 (SERVE_PORT=5001)
	@$(BIN)/python -m pipeline.serve --port $(SERVE_PORT) $(ARGS)

measure: assets ## measure what docs/measurements.md quotes (an hour and a half on 2 cores)
	@for script in $(filter-out benchmarks/study.py,$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$script || exit; done

study: assets ## when is QAT worth it: PTQ, QAT and distillation, three seeds each (an hour on 2 cores; two on emotion, ARGS="--data-dir DIR")
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

lock: ## resolve pyproject.toml anew and write constraints.txt
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --editable '.[dev,openvino,ray,slurm]'
	@{ echo "# Every package of the environment, exactly; written by \`make lock\`. CPython 3.11."; \
	   .venv-lock/bin/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+cpu$$//' | sort -f; } > constraints.txt
	@rm -rf .venv-lock

clean: ## remove caches and Hydra's outputs; keeps .venv, assets and mlruns
	@rm -rf outputs .pytest_cache .mypy_cache .ruff_cache *.egg-info
	@find pipeline tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
