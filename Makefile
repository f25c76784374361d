PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install build lint test chaos demo bench

help:
	@echo "make demo     see a project set up, on a control plane of this machine's own"
	@echo "make test     lint, types, import contracts and every test"
	@echo "make install  .venv with everything"
	@echo "make bench    the benchmarks beside their peers, as ratios"
	@echo "make chaos    the long form of the fault tests"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the dependencies into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

build: install
	@$(BIN)/python -m devcluster build

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint build
	$(BIN)/pytest

chaos: build
	CHAOS=long $(BIN)/pytest tests/chaos -s

demo: build
	@$(BIN)/python -m demo

bench: build
	@$(BIN)/python -m benchmarks
