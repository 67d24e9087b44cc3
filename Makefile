# make demo    a question answered from documents, from nothing
# make test    the tests
# make check   what CI runs: format, lint, types, tests
# make thorough   the tests with all rounds of random kills and damages
# make zoo     fetches real chat templates and vocabularies, for tests that are skipped without them
# make train-exit         fits the classifier of compress.exit_mini, some minutes; see docs/training.md
# make train-extensible   trains the vectors of compress.extensible, 2.5 hours; see docs/training.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test check thorough zoo format picture train-exit train-extensible clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing. The first time llama.cpp is compiled, which takes about 10 minutes; pip keeps what it built."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[documents,dev]"
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python -m cli.main demo

# First what can share the machine, a worker for each core, slow files before the others (tests/order.py); then what
# needs the machine alone.
# With CI set, pytest's list of what failed has whole messages, which are too long to read.
PYTEST := env -u CI COLUMNS=160 $(BIN)/pytest
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
# Where tests with the mark `alone` lie (tests/order.py): the others need not be collected again.
ALONE := tests/executors tests/cli/test_run.py tests/test_network.py

test: $(READY)
	$(PYTEST) $(PARALLEL) -m "not alone and not thorough"
	$(PYTEST) -m "alone and not thorough" $(ALONE)

thorough: $(READY)
	$(PYTEST) $(PARALLEL) -m "not alone"
	$(PYTEST) -m "alone" $(ALONE)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

zoo: $(READY)
	$(BIN)/python -m tests.models.zoo

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

picture: $(READY)
	$(BIN)/python docs/draw.py

train-exit: $(READY)
	$(BIN)/python -m training.exit_mini.train

train-extensible: $(READY)
	$(BIN)/python -m training.extensible.train --minutes 150

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
