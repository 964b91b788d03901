# `make demo` shows a speaking face; `make test` runs everything that can run on this machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: install install-dev demo serve test lint types bench

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# mediapipe brings an OpenCV that needs a desktop's libraries; the headless one, laid over it, does not.
HEADLESS := $(PIP) --force-reinstall --no-deps 'opencv-python-headless>=4.11,<4.12'

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[embedded,enroll]'
	$(HEADLESS)
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[embedded,enroll,gcs,otel,dev]'
	$(HEADLESS)
	touch $@ $(VENV)/.installed

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
