# The interface. Each target is one line that calls one recipe module; variables reach it through the environment.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
export PYTHONUTF8 = 1

.DEFAULT_GOAL := help
.PHONY: help lock

help:       ## print the targets and the variables that each takes
	@$(PYTHON) -m recipe.help

lock:       ## compile requirements.lock from requirements.in (needs uv)
	uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-header --override requirements.override requirements.in -o requirements.lock
