# payflow's commands. `make` alone lists them. Everything runs from .venv, made on first use.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input --quiet
CODE := $(wildcard payflow tasks web worker.py celeryconfig.py)
RUNTIME_STAMP := $(VENV)/.runtime-installed
TEST_STAMP := $(VENV)/.test-installed
ARGS ?=
JOBS ?= 2 # test files side by side; the tests wait more than they compute

export PIP_ROOT_USER_ACTION := ignore

.PHONY: help run demo test fmt lint types architecture check docs bench bench-hang bench-lists accept faults properties mutants lock audit-deps install install-test clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUNTIME_STAMP) ## Start the whole system on the embedded default and print its addresses (Ctrl-C stops it)
	@exec $(PY) -m payflow run $(ARGS)

demo: $(RUNTIME_STAMP) ## Start it, walk the six journeys of a payment, check how each ends, stop (GATEWAY=all for each gateway)
	@$(PY) -m payflow demo $(if $(GATEWAY),--gateway $(GATEWAY)) $(ARGS)

test: $(TEST_STAMP) check ## Lint, types, architecture rules, then the whole test suite
	$(PY) -m pytest -m "not bench" --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

fmt: $(TEST_STAMP) ## Format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix --quiet .

lint: $(TEST_STAMP) ## Check style
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(TEST_STAMP) ## Check types (mypy strict)
	$(PY) -m mypy $(CODE)

architecture: $(TEST_STAMP) ## Check the floors: who may import whom
	$(PY) -m pytest -q tests/architecture

check: lint types architecture ## lint, types and architecture

docs: $(TEST_STAMP) ## Write docs/permissions.md and docs/openapi.json anew from what the app does
	$(PY) -m pytest -q --renew-docs tests/integration/test_permissions.py tests/integration/test_openapi.py

accept: $(TEST_STAMP) ## Only the acceptance tests, the system in real processes
	$(PY) -m pytest tests/acceptance $(ARGS)

faults: $(TEST_STAMP) ## The fault campaign: break everything while money moves, then audit (ARGS="--stack redis --only NAME --random 30m --seed N")
	@$(PY) -m tests.faults.campaign $(ARGS)

properties: $(TEST_STAMP) ## The property tests for longer, differently each time (EXAMPLES=500)
	PROPERTIES_EXAMPLES=$(or $(EXAMPLES),500) $(PY) -m pytest tests/properties $(ARGS)

mutants: $(TEST_STAMP) ## Switch each mechanism off in a copy of the tree; a test must notice (ARGS="--only WORD" or --write)
	@$(PY) -m tests.mutants $(ARGS)

bench-hang: $(TEST_STAMP) ## What one hanging gateway costs the customers of the others
	@$(PY) -m tests.benchmarks.hanging_gateway $(ARGS)

bench-lists: $(TEST_STAMP) ## What lists and details cost beside a thousand orders and beside a million (PostgreSQL)
	@$(PY) -m tests.benchmarks.lists $(ARGS)

bench: $(TEST_STAMP) ## Measure throughput and latency on this machine
	@$(PY) -m tests.benchmarks $(ARGS)

lock: $(TEST_STAMP) ## Renew requirements.txt and tests/requirements.txt from pyproject.toml
	$(PY) .ci/lock

audit-deps: $(TEST_STAMP) ## Look the pinned packages up in the public vulnerability list (needs the network)
	$(PIP) install pip-audit
	$(PY) -m pip_audit -r requirements.txt

install: $(RUNTIME_STAMP) ## Make .venv with what running needs

install-test: $(TEST_STAMP) ## Make .venv with what testing needs

clean: ## Remove .venv, caches and the embedded default's data (.payflow)
	rm -rf $(VENV) .payflow .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@command -v $(PYTHON) >/dev/null || { echo "payflow needs Python 3.11 or newer; '$(PYTHON)' was not found (Debian: apt install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "payflow needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments: its venv module is missing (Debian: apt install python3-venv)." >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME_STAMP): requirements.txt | $(PY)
	@echo "Installing what payflow needs to run ..."
	@$(PIP) install --requirement requirements.txt
	@touch $@

$(TEST_STAMP): tests/requirements.txt $(RUNTIME_STAMP)
	@echo "Installing what its tests need ..."
	@$(PIP) install --requirement tests/requirements.txt
	@touch $@
