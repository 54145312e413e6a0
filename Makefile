# Each target sets up all that it needs; what is there already costs nothing.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(or $(shell command -v python3.11 2>/dev/null),python3)
GUEST  := linux-minimal

# What `hil-agent doctor` can install; it is asked only when one of these is gone.
PROGRAMS := qemu-system-aarch64 gdb-multiarch aarch64-linux-gnu-as aarch64-linux-gnu-ld gdbserver lldb busybox dtc setpriv

INSTALLED   := $(VENV)/.installed
GUEST_BUILT := $(VENV)/.built-$(GUEST)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-e2e bench lint type clean host

help:  ## show this help
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(GUEST_BUILT)  ## boot Linux, suspend it with `echo mem`, hold, resume, prove it
	@$(BIN)/hil-agent demo

test: $(GUEST_BUILT)  ## run the whole test suite
	@$(BIN)/pytest $(PYTEST_ARGS)

test-fast: host  ## run the tests that boot no guest and are quick
	@$(BIN)/pytest -m 'not e2e and not slow'

test-e2e: $(GUEST_BUILT)  ## run the tests that boot guests
	@$(BIN)/pytest -m e2e

bench: $(GUEST_BUILT)  ## measure, and print ratios
	@$(BIN)/python -m bench

lint: $(INSTALLED)  ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

type: $(INSTALLED)  ## check types
	@$(BIN)/mypy

clean:  ## remove the virtual environment and what tools left in the tree
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

host: $(INSTALLED)
	@for program in $(PROGRAMS); do \
	  command -v $$program >/dev/null || exec $(BIN)/hil-agent doctor --install; \
	done

# The cache may be emptied at any time: who needs the image makes it again. Here it is made where people see it.
$(GUEST_BUILT): $(shell find guest_images/$(GUEST) -type f) | host
	@$(BIN)/hil-agent guest build $(GUEST)
	@touch $@

# The one package that has to be there before hil-agent can look after the rest.
apt_get := env DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends
define install_python3_venv
  if [ $$(id -u) = 0 ]; then as_root=; \
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as_root=sudo; \
  else echo 'python3-venv is missing: sudo apt-get install python3-venv' >&2; exit 5; fi; \
  echo 'Installing python3-venv'; \
  { $$as_root $(apt_get) install python3-venv \
    || { $$as_root $(apt_get) update; $$as_root $(apt_get) install python3-venv; }; } >/dev/null
endef

# pip comes last into a virtual environment: where it is, the environment is whole.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or later is needed: make PYTHON=...' >&2; exit 5; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(install_python3_venv); }
	@test -x $(BIN)/pip || { echo 'Creating $(VENV)' && $(PYTHON) -m venv $(VENV); }
	@echo 'Installing Python packages into $(VENV)'
	@$(BIN)/pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@
