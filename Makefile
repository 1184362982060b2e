# make demo | make test | make check; each sets up what it needs. OPTIONS is passed on to the demo's command.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Two tests of ranks at a time keep two cores busier than one: ranks wait for each other. A worker takes neighbouring
# tests, which share what they trained; of slow ones it takes a file, whose tests may share a port too, in the order
# that tests/conftest.py gives them. Slow ones wait for timeouts and starts: three at a time keep two cores busy.
WORKERS := --numprocesses auto --dist

.PHONY: mutants install demo test test-slow test-gpu test-other-pythons lint docs check faults properties readme

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "adabatch needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/adabatch train --preset demo --parallel fsdp --ranks 2 --output runs/demo --overwrite $(OPTIONS)

test: install
	$(PYTEST) $(WORKERS) worksteal -m "not slow"

test-slow: install
	$(PYTEST) --numprocesses 3 --dist loadfile --no-loadscope-reorder -m slow

# On a machine with a GPU, also from an unpacked checkout: with the clone's environment, or PYTHON as it is.
test-gpu:
	PYTHONPATH=$(CURDIR) $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m pytest -m gpu -s tests/gpu

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What needs no torch, on the other Pythons that are promised, where they are found.
OTHER_PYTHONS ?= python3.12 python3.13
WITHOUT_TORCH := $(addprefix tests/,adabatch/moments adabatch/schedules theory proofs simulate) \
  adabatch/moments adabatch/schedules theory proofs simulate
test-other-pythons:
	for python in $(OTHER_PYTHONS); do \
	  $$python -c '' 2>/dev/null || { echo "there is no $$python here"; continue; }; \
	  echo "$$python"; bin=build/$$(basename $$python)/bin; \
	  $$python -m venv build/$$(basename $$python) && \
	  $$bin/pip install --quiet --constraint constraints.txt --editable '.[theory]' \
	    pytest pytest-timeout pytest-xdist hypothesis z3-solver && \
	  $$bin/python -m pytest $(WORKERS) worksteal -m "not slow and not distributed" $(WITHOUT_TORCH) || exit 1; \
	done

# The documentation site, in build/site: nothing in it comes from another server.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint test test-slow

# The long version of the fault tests: kills, stop signals, pauses; an hour on two busy cores.
faults: install
	$(BIN)/python benchmarks/faults.py
	$(BIN)/python benchmarks/stops.py
	$(BIN)/python benchmarks/paused_ranks.py

# Every property test with 25 times its examples: half an hour on two cores.
properties: install
	$(PYTEST) --numprocesses auto --timeout 3000 --examples-times 25 -m "hypothesis and not distributed"

# README's commands in order, from a fresh clone of the last commit, in a shell that has nothing active.
readme:
	bash tests/readme_in_a_shell.sh

# Small changes of theory's formulas: does a proof, a claim or a measurement notice each? Half an hour for every 13th
# and those by hand; OPTIONS='--every 1 --modules theory.samples' for all of a room.
mutants: install
	$(BIN)/python benchmarks/mutants.py --every 13 $(OPTIONS)
