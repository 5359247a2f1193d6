# Each target does all of its own set-up: it needs Python 3.11, 3.12 or 3.13, make and the package index, nothing else.
# A stamp in .venv remembers what is installed, so that a second call starts at once.

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NEEDS = pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help quickstart test check fmt clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

quickstart: $(VENV)/stamp-train  ## train a small GPT through real preemptions on this machine; no account needed
	@$(VENV)/bin/launch train recipes/quickstart.yaml

test: $(VENV)/stamp-test  ## all tests; no network, no cloud account, no GPU
	@scripts/test -n 2 --dist loadgroup

check: $(VENV)/stamp-dev  ## style and types
	@scripts/check

fmt: $(VENV)/stamp-dev  ## format the code in place
	@scripts/fmt

clean:  ## remove the environment and all caches; runs and checkpoints stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find launcher tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# With the environment moved by VENV the scripts must follow.
export VENV

$(VENV)/stamp-venv:
	@test -n "$(PYTHON)" || { \
		echo "launch needs Python 3.11, 3.12 or 3.13, and none is on the PATH; install one, or: make PYTHON=/path/to/python3.11" >&2; \
		exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "launch needs Python 3.11, 3.12 or 3.13; PYTHON=$(PYTHON) is another or does not start" >&2; exit 2; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@touch $@

$(VENV)/stamp-train: $(VENV)/stamp-venv $(NEEDS)
	@echo "installing into $(VENV), once: torch is large" >&2
	@$(INSTALL) -e '.[train]'
	@touch $@

$(VENV)/stamp-test: $(VENV)/stamp-venv $(NEEDS)
	@echo "installing into $(VENV), once: torch is large" >&2
	@$(INSTALL) -e '.[test]'
	@touch $@ $(VENV)/stamp-train

$(VENV)/stamp-dev: $(VENV)/stamp-test
	@$(INSTALL) -e '.[test,dev]'
	@touch $@
