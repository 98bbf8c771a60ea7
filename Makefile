# Everything from a fresh machine with Python (3.10 or newer) and make: `make demo`, `make test`.
# The environment is .venv; it is reused until pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUNS   := $(VENV)/.runs
READY  := $(VENV)/.ready
OLDEST := .venv-oldest
VLLM   := .venv-vllm
OPENWEBUI := .venv-openwebui
INSTALL = -m pip --disable-pip-version-check install -q -c
PIP    := $(BIN)/python $(INSTALL) constraints.txt

# Tests and docs never reach for the network or report anything; the models come with the installed wheels.
OFFLINE := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 ANONYMIZED_TELEMETRY=False LANGSMITH_TRACING=false DO_NOT_TRACK=1

# Two processes, of some 3 GB each, share the tests, a file at a time, and the processor's threads (tests/conftest.py).
PARALLEL := -n 2 --dist loadfile --benchmark-disable

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-wide test-clients test-openwebui test-vllm screenshots test-oldest test-pythons test-dist test-soak lint types docs bench bench-server bench-vllm results clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY)  ## make the environment (every target below does it by itself)

demo: $(RUNS)  ## two users, one question: unaligned, prompted and aligned side by side
	@$(BIN)/la-agents demo

test: lint  ## lint, then every test
	$(OFFLINE) $(BIN)/python -m pytest $(PARALLEL)

test-wide: $(READY)  ## ten minutes of the property tests on new random examples (not part of make test)
	$(OFFLINE) $(BIN)/python -m tests.wide

test-clients: $(READY)  ## the server against others' clients and a browser (chromium from the system; not part of make test)
	@$(PIP) -e 'integrations/server[test,clients]'
	$(OFFLINE) $(BIN)/python -m pytest integrations/server/tests -m clients

# SEEDS are those of the simulation; VLLM_ALIGNED and VLLM_PLAIN are the requests of each load on vLLM's engine.
SEEDS ?= 400
VLLM_ALIGNED ?= 40
VLLM_PLAIN ?= 10
BUNDLED = $$($(OFFLINE) $(BIN)/python -c 'from la_agents.models.files import find_model; print(find_model("smollm2-135m-instruct").source)')

test-vllm: $(READY) $(VLLM)/.ready  ## aligned decoding inside vLLM, in an environment of its own (half an hour; not part of make test)
	$(OFFLINE) VLLM_NO_USAGE_STATS=1 VLLM_LOGGING_LEVEL=ERROR LA_SEEDS=$(SEEDS) LA_VLLM_MODEL="$(BUNDLED)" \
		LA_VLLM_ALIGNED=$(VLLM_ALIGNED) LA_VLLM_PLAIN=$(VLLM_PLAIN) \
		$(VLLM)/bin/python -m pytest -c integrations/vllm/tests/vllm.ini --rootdir integrations/vllm integrations/vllm/tests -s
	$(OFFLINE) LA_VLLM_MODEL="$(BUNDLED)" $(BIN)/python -m pytest tests/real/test_vllm_server.py -m engine -s

test-openwebui: $(READY) $(OPENWEBUI)/.ready  ## two users of Open WebUI, whom the server tells apart (2.4 GB; not part of make test)
	$(OFFLINE) OPENWEBUI=$(abspath $(OPENWEBUI)/bin/open-webui) $(BIN)/python -m pytest integrations/server/tests -m openwebui

screenshots: docs  ## the documentation's pictures; fails where a page overflows (chromium from the system)
	@$(PIP) -e 'integrations/server[clients]'
	$(OFFLINE) $(BIN)/python integrations/server/screenshots.py
	$(OFFLINE) $(BIN)/python -m docs.screenshots

test-oldest: $(OLDEST)/.ready  ## every test on the oldest versions that pyproject.toml allows
	$(OFFLINE) $(OLDEST)/bin/python -m pytest $(PARALLEL)

test-pythons: $(READY)  ## what needs no torch, on the other Pythons: 3.10, 3.12, 3.13, where they are installed
	$(OFFLINE) $(BIN)/nox -s light light_oldest

test-dist: $(READY)  ## build what goes to PyPI, install it into empty environments, and try it there (downloads)
	@$(PIP) -e '.[dist]'
	$(BIN)/python -m tests.dist

test-soak: $(READY)  ## two minutes of random load on the engine (not part of make test)
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/soak -m soak -s

lint: $(READY) types  ## ruff, formatting, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(OFFLINE) $(BIN)/python -m pytest -q tests/unit/test_architecture.py -k "imports or rooms"

types: $(READY)  ## mypy --strict on the library and its integrations
	$(BIN)/mypy --strict la_agents integrations/langgraph/la_agents_langgraph integrations/server/la_agents_server integrations/vllm/la_agents_vllm

docs: $(READY)  ## build the site into site/; a warning is an error
	$(OFFLINE) NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Open site/index.html (its search needs a server: python3 -m http.server --directory site)"

bench: $(READY)  ## aligned decoding beside its peers (a quarter of an hour)
	$(OFFLINE) $(BIN)/python -m benchmarks.decode

bench-server: $(READY)  ## the server beside calls in the process, and under load (half an hour on two idle cores)
	$(OFFLINE) $(BIN)/python integrations/server/bench.py

bench-vllm: $(READY) $(VLLM)/.ready  ## aligned decoding inside vLLM beside plain, and beside the local engine (half an hour on two idle cores)
	$(OFFLINE) VLLM_NO_USAGE_STATS=1 $(VLLM)/bin/python integrations/vllm/bench.py vllm "$(BUNDLED)" $(BENCH_VLLM)
	$(OFFLINE) $(BIN)/python integrations/vllm/bench.py local "$(BUNDLED)" $(BENCH_LOCAL)

# MODEL=x.gguf measures another model. RESULTS=--quick takes minutes and writes to results/quick; --page-only writes the
# page from the rows that are there.
results: $(READY)  ## measure all suites on the bundled model and write docs/results.md (hours; may be interrupted)
	$(OFFLINE) $(BIN)/python -m benchmarks.results $(if $(MODEL),--model $(MODEL)) $(RESULTS)

clean:  ## remove everything that make made here, the environment included (not the models, which la-agents setup fetched)
	rm -rf $(VENV) $(OLDEST) $(OPENWEBUI) $(VLLM) .nox .cache site build dist *.egg-info integrations/*/*.egg-info integrations/*/build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Expected Python 3.10 or newer, got %s; run make again with PYTHON=python3.12, say." % sys.version.split()[0])'
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# PyTorch goes first, so that the pin picks the build (CPU or GPU) that this machine's index offers.
$(RUNS): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing PyTorch (large: minutes on a slow line)"
	@$(PIP) torch
	@echo "Installing la-agents"
	@$(PIP) -e '.[local,chat]'
	@$(BIN)/la-agents setup
	@touch $@

# What the demo does without.
$(READY): $(RUNS) integrations/langgraph/pyproject.toml integrations/server/pyproject.toml
	@echo "Installing what tests, docs and measurements need"
	@$(PIP) -e '.[local,vllm,chat,multilingual,test,lint,docs,examples,evaluation,lm-eval,pythons]' -e 'integrations/langgraph[test]' -e 'integrations/server[test]'
	@touch $@

# vLLM pins what la_agents has newer: no environment holds both.
$(VLLM)/.ready: integrations/vllm/pyproject.toml integrations/vllm/environment.py integrations/vllm/constraints.txt
	@echo "Making vLLM's environment in $(VLLM) (large: minutes on a slow line)"
	@python3.11 -m venv --clear $(VLLM)
	@$(VLLM)/bin/python integrations/vllm/environment.py
	@touch $@

$(OLDEST)/.ready: pyproject.toml integrations/langgraph/pyproject.toml integrations/server/pyproject.toml constraints-oldest.txt
	@echo "Making the environment of the oldest versions in $(OLDEST)"
	@python3.11 -m venv --clear $(OLDEST)
	@$(OLDEST)/bin/python $(INSTALL) constraints-oldest.txt torch
	@$(OLDEST)/bin/python $(INSTALL) constraints-oldest.txt -e '.[local,vllm,chat,multilingual,test,examples,evaluation,lm-eval]' -e 'integrations/langgraph[test]' -e 'integrations/server[test]'
	@$(OLDEST)/bin/la-agents setup
	@touch $@

# PyTorch of this project's own pin first: what Open WebUI needs would pick another build, gigabytes larger.
$(OPENWEBUI)/.ready: constraints.txt
	@echo "Making the environment of Open WebUI"
	@python3.11 -m venv --clear $(OPENWEBUI)
	@$(OPENWEBUI)/bin/python -m pip --disable-pip-version-check install -q $(shell grep '^torch==' constraints.txt)
	@$(OPENWEBUI)/bin/python -m pip --disable-pip-version-check install -q open-webui==0.12.4
	@touch $@
