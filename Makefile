# The two commands of the README, `make demo` and `make test`, need nothing but Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench bench-shares soak mutants clean
.DEFAULT_GOAL := help

help:
	@echo "make demo          a news server, a clip and the gateway on 127.0.0.1: something to watch in a minute"
	@echo "make test          every test that needs no system program; lint and types with it"
	@echo "make lint          ruff, mypy --strict, import-linter"
	@echo "make bench         throughput, CPU and memory against a bare client"
	@echo "make bench-shares  how connections are shared, in a model and on a shaped line"
	@echo "make soak          ten minutes of viewers who come and go, while provider and Redis fail"
	@echo "make mutants       changes the program for the worse, and has the tests notice each time"

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python {v[0]}.{v[1]} is too old: NZB Gateway needs 3.11 or newer (make PYTHON=python3.11 ...)")'
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "cannot make a virtual environment: on Debian and Ubuntu, install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip==26.3"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/nzb-gateway demo

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	$(BIN)/python -m bench

bench-shares: $(VENV)/.installed
	$(BIN)/python -m bench.shares

soak: $(VENV)/.installed
	$(BIN)/python -m bench.soak

mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants/run.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
