# Each target does all of its own set-up: it needs Python 3.11, 3.12 or 3.13, make and the package index, nothing else.
# A stamp in .venv remembers what is installed, so that a second call starts at once.

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_EXTRA)
NEEDS = pyproject.toml constraints.txt
# Servers for tests, none of them in our own environment; tests/servers/kinds.py knows this place.
SERVERS = .servers
AZURITE = azurite@3.35.0
# Beside tests/e2e: their tests that want a provider's library are skipped by `make test`, which installs none.
WANT_LIBRARIES = tests/market/test_live_aws.py tests/conformance/test_aws_provider.py tests/cli/test_doctor.py

.DEFAULT_GOAL := help
.PHONY: help quickstart test e2e sky servers check fmt clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

quickstart: $(VENV)/stamp-train  ## train a small GPT through real preemptions on this machine; no account needed
	@$(VENV)/bin/launch train recipes/quickstart.yaml $(ARGS)

test: $(VENV)/stamp-test  ## all tests; no network, no cloud account, no GPU
	@scripts/test -n 2 --dist worksteal --durations=10  # a test that waits for nothing is seen

e2e: $(VENV)/stamp-e2e servers  ## object stores on real servers, under every fault; needs Node.js for Azurite, no account
	@scripts/test tests/e2e $(WANT_LIBRARIES) -n 2 --dist loadgroup

sky:  ## real SkyPilot and a stand-in AWS on this machine, our agent on its instances; Debian and root, no account
	@scripts/sky $(ARGS)

servers: $(SERVERS)/stamp  ## the servers that e2e starts: ministack, moto, Azurite

check: $(VENV)/stamp-dev  ## style and types
	@scripts/check

fmt: $(VENV)/stamp-dev  ## format the code in place
	@scripts/fmt

clean:  ## remove the environment and all caches; runs and checkpoints stay
	rm -rf $(VENV) $(SERVERS) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

$(VENV)/stamp-e2e: $(VENV)/stamp-test
	@$(INSTALL) -e '.[test,s3,gcs,az]'
	@touch $@

$(SERVERS)/stamp: $(VENV)/stamp-venv tests/servers/ministack.txt tests/servers/moto.txt Makefile
	@command -v npm >/dev/null || { echo "Azurite, the server for az://, needs Node.js 18 or newer and npm; install them" >&2; exit 2; }
	@echo "installing servers into $(SERVERS), once" >&2
	@for server in ministack moto; do \
		"$(VENV)/bin/python" -m venv $(SERVERS)/$$server && \
		$(SERVERS)/$$server/bin/python -m pip install --quiet --disable-pip-version-check -r tests/servers/$$server.txt || exit 1; \
	done
	@mkdir -p $(SERVERS)/azurite && npm install --prefix $(SERVERS)/azurite --no-audit --no-fund --silent $(AZURITE)
	@touch $@
