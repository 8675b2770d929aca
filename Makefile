# `make help` lists what there is to do. Every target sets up what it needs; nothing is done twice.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
LOCK_COMMAND := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Where modules are never kept compiled, each process compiles torch and MLflow anew: ten seconds.
unexport PYTHONDONTWRITEBYTECODE
# BentoML and MLflow would report their use to their makers.
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true

# Tests wait, for services and trainings of their own, as long as they compute.
WORKERS := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 3 ? n + 1 : 4)))
SIDE_BY_SIDE = -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help repro serve ui sweep release wild test test-cluster check lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

repro: $(READY) ## fetch, train, evaluate, select and package; only what changed runs
	@dvc repro
	@digits summary

serve: PORT ?= 3000
serve: $(READY) ## serve the packaged model on http://127.0.0.1:3000, or another PORT=
	@python -m digits.addresses "$(PORT)" --of $@
	@bentoml serve --port $(PORT)

ui: PORT ?= 5000
ui: $(READY) ## compare the runs in MLflow's pages on http://127.0.0.1:5000, or another PORT=
	@python -m digits.runs.ui --port "$(PORT)"

sweep: $(READY) ## train each model with three seeds, side by side in MLflow
	@python -m digits.train -m model=mlp,cnn seed=1,2,3

release: $(READY) ## keep the packaged model in git, for clones that have made none yet
	@python -m digits.release

wild: $(READY) ## read a folder of labelled images through the service: make wild FOLDER=scans
	@python bench/wild.py $(if $(FOLDER),"$(FOLDER)")

test: $(READY) ## run the tests, but for those of test-cluster
	@pytest $(SIDE_BY_SIDE) -m "not cluster"

test-cluster: $(READY) ## run those of several processes and machines, and of a team's server
	@pytest $(SIDE_BY_SIDE) -m cluster

check: $(READY) ## lint, check types, and check that imports run downward
	@ruff check
	@ruff format --check
	@mypy
	@lint-imports --no-cache

lock: $(READY) ## resolve requirements.lock anew from pyproject.toml
	@$(LOCK_COMMAND) --all-extras pyproject.toml --output-file requirements.lock
	@$(LOCK_COMMAND) --constraint requirements.lock deploy/requirements.in \
	  --output-file deploy/requirements.lock

clean: ## remove the environment and everything the pipeline made, but not the runs
	rm -rf $(VENV) data models served champion champion.pending.json composed checkpoints outputs multirun .dvc/cache .dvc/tmp

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}; \
	try make PYTHON=python3.12")'
	@echo "Setting up $(VENV): once, and again when requirements.lock changes"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/^[a-z]/{/^uv==/p;/--hash/p}' requirements.lock > $(VENV)/uv.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  --requirement $(VENV)/uv.lock
	@VIRTUAL_ENV=$(VENV) uv pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
