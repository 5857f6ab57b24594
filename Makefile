# Every target does its own set-up: a fresh clone needs Python 3.11+ and a package index, nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

export TOKENIZERS_PARALLELISM = false
export HF_HUB_OFFLINE = 1

.PHONY: help install demo test quick soak crash lint bench docs clean

help:
	@echo "make demo     install, then run the guided tour"
	@echo "make test     install, then lint, types and every test"
	@echo "make quick    install, then all tests but the slow ones, in under two minutes"
	@echo "make soak     the random tests with 20 times as many examples"
	@echo "make crash    kill 1,000 processes at every step of the storage protocol, check each store"
	@echo "make lint     ruff, ruff format and mypy"
	@echo "make bench    the benchmarks (ratios, with their spread)"
	@echo "make docs     run every example of README.md and docs/"
	@echo "make install  only the set-up"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "MemQL needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/memql demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow"

soak: $(STAMP)
	MEMQL_SOAK=1 $(BIN)/python -m pytest -q $$(grep -rlE '@given|SOAK_FACTOR' tests --include='test_*.py')

crash: $(STAMP)
	$(BIN)/python -m tests.storage.crash --kills 1000 --each 30

test: lint
	$(BIN)/python -m pytest -q

docs: $(STAMP)
	$(BIN)/python -m pytest -q tests/test_docs.py

bench: $(STAMP)
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
