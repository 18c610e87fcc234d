# `make help` lists the commands. Everything else is in README.md and docs/.
#
#   CLUSTER=existing KUBECONFIG=… STACK=NAME  use a cluster that is already there, and that stack's own file
#   HOSTS=20                                  `make up`: so many lab hosts, half KVM, half LXC (default 2)
#   VERSION=6.10                              the release that the lab rehearses
#   OPENNEBULA_ROOT=DIR                       the lab's images and packages from an installed OpenNebula
#   REGISTRY=… VERSION=7.4.0 FINGERPRINT=…    `make images`: build the control plane's images; VERSION is a release or one
#                                             of its updates here. Optional: KEY_FILE BASE REPOSITORY AUTH TOOL; AUTH=FILE is
#                                             REPOSITORY's login as apt's auth.conf has it (machine … login … password …)
#   HOST=… GROUP=… PORT=… STACK=… WRITE=1     `make pin`: print SSH host keys for review, and with WRITE=1 pin the new ones;
#                                             IDENTITY=FILE is the key that the bastion lets in
#   JSON=1                                    `make status` as one JSON object
#   BENCH=hosts                               `make bench`: hosts, ours beside other tools (PARTS, HOSTS, ROUNDS, B, TERRAFORM: see bench/hosts)
#   FAULTS=10 SEED=…                          `make test-faults`: so many percent of the full counts; a run's random choices again

SHELL := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
RUN := PYTHONDONTWRITEBYTECODE=1 $(VENV)/bin/python
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PACK_STAMP := policy/$(VENV)/.installed

export PARTS HOSTS VERSION KEY CLUSTER STACK KUBECONFIG OPENNEBULA_ROOT JSON ONELAB_CACHE
export HOST GROUP PORT WRITE IDENTITY
export FAULTS SEED
export FINGERPRINT KEY_FILE BASE REPOSITORY AUTH TOOL

.PHONY: help pin secret up refresh status down images packages test test-fast test-engine test-faults bench lint format unlock

up: $(STAMP)
	@$(RUN) -m lab up

refresh: $(STAMP)
	@$(RUN) -m lab refresh

status: $(STAMP)
	@$(RUN) -m lab status

down: $(STAMP)
	@$(RUN) -m lab down

pin: $(STAMP)
	@$(RUN) -m lab.pin

secret: $(STAMP)
	@$(RUN) -m lab secret

help:
	@echo "make up           the lab: an embedded cluster, hosts, OpenNebula on it; HOSTS=20, VERSION=6.10"
	@echo "make refresh      read the world into the state; the next up mends what somebody changed behind its back"
	@echo "make status       endpoints, parts, hosts and pods as they are now; JSON=1"
	@echo "make down         remove the lab, or destroy a stack of your own"
	@echo "make unlock       take away the lock of a run that was killed"
	@echo "make secret       encrypt standard input into the stack's file: KEY=NAME < FILE"
	@echo "make pin          print SSH host keys for review: HOST=, GROUP=; WRITE=1 pins the new ones"
	@echo "make images       build the control plane's images: REGISTRY=, VERSION=, FINGERPRINT="
	@echo "make test         every test; test-fast, test-engine, test-faults and lint are parts and more"
	@echo "make bench        measure; BENCH=hosts for hosts beside other tools"
	@echo
	@echo "CLUSTER=existing KUBECONFIG=PATH STACK=NAME: up, refresh, status, down, unlock and secret on a cluster of your own."
	@echo "STACK=NAME alone goes with pin. README.md says the rest."

images: $(STAMP)
	@$(RUN) -m images.build "$(REGISTRY)" "$(VERSION)"

unlock: $(STAMP)
	@$(RUN) -m lab unlock

test: packages lint $(PACK_STAMP)
	@$(RUN) -m tests.run

packages: $(DEV_STAMP)
	@$(RUN) -m tests.system_packages

test-fast: $(DEV_STAMP) $(PACK_STAMP) packages
	@$(RUN) -m tests.run fast

test-engine: $(DEV_STAMP) $(PACK_STAMP) packages
	@$(RUN) -m tests.run engine

test-faults: $(DEV_STAMP) packages
	@FAULTS=$(or $(FAULTS),100) $(RUN) -m pytest tests/faults

bench: $(DEV_STAMP)
	@$(RUN) -m bench$(if $(BENCH),.$(BENCH))

lint: $(DEV_STAMP)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy .
	@$(RUN) -m tests.shell_lint

format: $(DEV_STAMP)
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) found. Set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "python3 -m venv failed. On Debian: apt-get install python3-venv" >&2; exit 1; }

$(STAMP): requirements.txt requirements-lab.txt requirements.lock | $(VENV)/bin/python
	@echo "installing Python packages into $(VENV)" >&2
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -r requirements.txt -r requirements-lab.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(STAMP)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -r requirements-dev.txt
	@touch $@

# As `pulumi install` in that folder does it.
$(PACK_STAMP): policy/requirements.txt policy/requirements.lock | $(VENV)/bin/python
	@echo "installing the policy pack's Python packages into policy/$(VENV)" >&2
	@$(VENV)/bin/python -m venv policy/$(VENV)
	@policy/$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r policy/requirements.txt
	@touch $@
