.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "vae-lab needs Python 3.11 or newer with venv: say make PYTHON=<path of one>"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: help train test test-quick test-slow lint types format docs notebooks bench speedrun check setup clean
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv and install into it (every target below does, if needed)

train: $(READY) ## Train the embedded default; ARGS="model=conv_vae data=mnist" for another
	$(BIN)/python train.py $(ARGS)

test: docs ## Run the fast tests; ARGS="-k data" for some
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-quick: docs ## Run those that start no processes, in half the time
	$(BIN)/python -m pytest -m 'not process and not slow' $(ARGS)

test-slow: docs ## Run the slow tests too, on the real data in VAE_LAB_DATA
	$(BIN)/python -m pytest $(PARALLEL) -m 'slow or not slow' $(ARGS)

lint: $(READY) ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types
	$(BIN)/mypy

format: $(READY) ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## Write README's table of choices anew
	$(BIN)/python docs/choices.py

notebooks: $(READY) ## Run the notebooks, whose outputs are committed; DATA=mnist: into runs/notebooks
	$(BIN)/python notebooks/execute.py $(if $(DATA),--data $(DATA)) $(ARGS)

bench: $(READY) ## Compare speeds into benchmarks/RESULTS.md; ARGS="mlp threads" for some, ARGS="--help"
	$(BIN)/python -m benchmarks $(ARGS)

speedrun: $(READY) ## Race to 88 nats by benchmarks/RECORDS.md; ARGS="speedrun_88 --seeds 6"
	$(BIN)/python -m benchmarks.speedrun $(ARGS)

check: lint types test ## All that a change must pass

clean: ## Remove .venv and caches; runs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
