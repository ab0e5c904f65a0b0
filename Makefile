# One command per verb, the same ones CI calls. All of them set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-postgres demo bench bench-peers lint types format check worker migrations install clean python-version

help:
	@echo "make run    the whole platform on http://127.0.0.1:8000 (PORT=… to change)"
	@echo "make test   all tests; test-postgres runs those that use the database on PostgreSQL"
	@echo "make demo   one request to every service of a running platform"
	@echo "make bench  the gateway's overhead, measured; bench-peers adds other gateways"
	@echo "make check  lint, types and missing migrations"

python-version:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else 1)' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1); name another with PYTHON=/path/to/python3." >&2; \
	  exit 1; }

$(BIN)/python: | python-version
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	@echo "Installing the requirements …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing the requirements, for development too …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed-dev

run: $(VENV)/.installed
	@exec $(BIN)/python -m de.supervisor

demo: $(VENV)/.installed
	@$(BIN)/python scripts/demo.py

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest $(ARGS)

test-postgres: $(VENV)/.installed-dev
	@scripts/with-postgres $(BIN)/python -m pytest tests/accounts tests/config tests/usage $(ARGS)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.installed-dev
	@$(BIN)/mypy apps de scripts

migrations: $(VENV)/.installed-dev
	@$(BIN)/python manage.py makemigrations --check --dry-run

check: lint types migrations
	@$(BIN)/python manage.py check

worker: $(VENV)/.installed
	@exec $(BIN)/celery --app de.celery worker --pool threads --concurrency 16

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.run $(ARGS)

bench-peers: $(VENV)/.installed-dev
	@$(BIN)/python -m bench.run --peers $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
