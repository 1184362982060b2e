# make demo | make test | make check; each sets up what it needs. OPTIONS is passed on to the demo's command.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Tests that start ranks wait for each other more than they compute: two files of them at a time. A file's tests stay
# together, as they share what they trained, or a port.
WITH_RANKS := --numprocesses 2 --dist loadfile

.PHONY: install demo test test-slow lint check faults

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "adabatch needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/adabatch train --preset demo --parallel fsdp --ranks 2 --output runs/demo --overwrite $(OPTIONS)

test: install
	$(PYTEST) --numprocesses auto -m "not slow and not distributed"
	$(PYTEST) $(WITH_RANKS) -m "distributed and not slow"

test-slow: install
	$(PYTEST) --numprocesses auto -m "slow and not distributed"
	$(PYTEST) $(WITH_RANKS) -m "slow and distributed"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test test-slow

# The long version of the fault tests: 60 kills, about ten minutes on two busy cores.
faults: install
	$(BIN)/python benchmarks/faults.py
