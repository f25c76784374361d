NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help install build images lock lint check test mutations chaos demo bench release

help:
	@echo "make demo     set up a demo project on a temporary local control plane"
	@echo "make check    lint, types, import contracts and the unit tests, within a minute"
	@echo "make test     the same, and every other test"
	@echo "make install  create .venv with all dependencies"
	@echo "make images   build the operator and toolchain images on this machine"
	@echo "make bench    run the benchmarks and update docs/performance.md; BENCH=--quick for a check"
	@echo "make release  build packages, images, manifests and checksums of this commit into dist/"
	@echo "make mutations  small defects that the tests must catch, one for each promise; WHAT='word …' chooses some"
	@echo "make chaos    the long form of the fault tests"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || \
		{ echo "Python 3.11 or newer is needed: make install PYTHON=/path/to/python3" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the dependencies into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

build: install
	@$(BIN)/python -m devcluster build

images: install
	@$(BIN)/python -m images build

LOCK_FOR := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --python-version
LOCK := $(LOCK_FOR) 3.11

# regenerates the lock files without addresses, keeping versions that still fit
lock: install
	$(LOCK) pyproject.toml --extra otel --group dev -o requirements.lock
	$(LOCK) pyproject.toml --extra otel -c requirements.lock -o requirements-runtime.lock
	echo hatchling | $(LOCK) - -c requirements.lock -o requirements-build.lock
	echo oban==0.7.0 | $(LOCK_FOR) 3.13 - --no-emit-package erlpack --no-emit-package six -o benchmarks/requirements-oban.lock

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: install
	@$(BIN)/python -m tests.run check

test: install
	@$(BIN)/python -m tests.run test

mutations: build
	@$(BIN)/python -m tests.mutations $(WHAT)

chaos: build
	CHAOS=long $(BIN)/pytest -s -o timeout=3600 tests/chaos tests/node/test_jobs_storm.py tests/node/test_jobs_disruptions.py \
		tests/node/test_jobs_failing_pods.py tests/security/test_memory.py

demo: build
	@$(BIN)/python -m demo

bench: build
	@$(BIN)/python -m benchmarks $(BENCH)

release: install
	@$(BIN)/python -m release
