# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
# One command on a fresh Debian or Ubuntu machine with Python 3.10 to 3.12 and a C++ compiler: see `make help`.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# what decides whether the installation is still good
SOURCES := setup.py setup.cfg pyproject.toml constraints.txt tools/install.sh \
           $(shell find interfaces -type f -not -name '*.md' -not -path '*/build/*')
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: help demo test lint nightly install clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo     install, then run the whole graph on the simulated arm; options: make demo ARGS="--help"'
	@echo 'make test     install, then lint and run all tests that are not slow'
	@echo 'make lint     ruff and mypy'
	@echo 'make nightly  the slow tests too'
	@echo 'make install  only install, into $(VENV) (PYTHON=$(PYTHON))'
	@echo 'make clean    remove $(VENV), build, install and log folders and caches; never runs/'

demo: $(VENV)/.installed
	$(BIN)/apprentice demo $(ARGS)

test: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m 'not slow' $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy robot policies reward_models learning episodes sim nodes cli

nightly: $(VENV)/.installed-dev
	$(PYTEST) $(ARGS)

install: $(VENV)/.installed

$(VENV)/.installed: $(SOURCES)
	bash tools/install.sh '$(PYTHON)' '$(VENV)' run

# the development installation is also a complete one
$(VENV)/.installed-dev: $(SOURCES)
	bash tools/install.sh '$(PYTHON)' '$(VENV)' dev

clean:
	rm -rf $(VENV) build install log interfaces/build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
