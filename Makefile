# Everything a newcomer needs is Python 3.11+, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock
Q ?= A train leaves at 14:10 and arrives at 16:45. How many minutes does the trip take?
ASK_FLAGS ?= --tradeoff 0.1 --explain

.PHONY: ask test lint bench docs notebooks phoenix lock clean

ask: export QUESTION = $(value Q)
ask: $(VENV)/.ask  ## answer Q="…" with real models on this machine, and show how it came about
	@$(BIN)/curveroute ask $(ASK_FLAGS) -- "$$QUESTION"

test: $(VENV)/.dev  ## every test, the real local models included
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(TEST_FLAGS)

lint: $(VENV)/.dev  ## style, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=typings $(BIN)/lint-imports

bench: $(VENV)/.dev  ## speed, as ratios in one run; JSON on standard output
	@$(BIN)/python benchmarks/run.py

phoenix: $(VENV)/.dev  ## a traced run in a real viewer, read back and seen in a browser (installs both)
	@.ci/phoenix

docs: $(VENV)/.dev  ## the site, in site/: these pages, and the reference from docstrings
	$(BIN)/mkdocs build --strict --quiet

notebooks: $(VENV)/.dev  ## run every notebook; NOTEBOOK_FLAGS=--write keeps the outputs
	$(BIN)/python notebooks/run.py $(NOTEBOOK_FLAGS)

lock:  ## pin the versions that CI uses (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 -o requirements.lock \
		--no-emit-index-url --no-header --no-annotate --upgrade

clean:  ## remove what was built; fetched weights and the ledger stay
	rm -rf $(VENV) .tools build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .langgraph_api
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "curveroute needs Python 3.11 or newer; \
	this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ask")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ask: $(VENV)/bin/python pyproject.toml requirements.lock
	@echo "installing curveroute into $(VENV) …"
	@$(PIP_INSTALL) -e ".[local]"
	@$(BIN)/curveroute models fetch
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml requirements.lock
	@echo "installing curveroute and its development tools into $(VENV) …"
	@$(PIP_INSTALL) -e ".[all,dev,docs]"
	@touch $@ $(VENV)/.ask
