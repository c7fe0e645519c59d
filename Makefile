# Speech Portal. `make demo` shows the main job, `make test` passes the tests; both set everything up.

# The first of these that runs here; another: PYTHON=/path/to/python3.
PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13,$(shell python$(version) -c "import sys; print(sys.executable)" 2>/dev/null)))
# Which build of PyTorch: cpu, cuda, or auto, which takes cuda where an NVIDIA driver is loaded.
TORCH ?= auto
BIND ?= 127.0.0.1:8000
STORAGE ?= local
JOBS ?= 2
GPU_PYTHON ?= python3
KIT ?= var/gpu-check
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := $(if $(filter s3,$(STORAGE)),swift)
RUNTIME := $(VENV)/runtime-$(TORCH)$(addprefix -,$(EXTRAS))
READY := $(VENV)/ready

.PHONY: help demo run test chaos scale bench gpu-kit gpu-check lint lint-javascript models migrate lock clean check coverage
help:
	@echo "make demo             the main job on real speech; EXIT=1 ends when it is done, STORAGE=s3 uses an S3 server"
	@echo "make run              web server and workers, at http://$(BIND)/"
	@echo "make test             the tests, JOBS=2 at once; ARGS='-k name' selects some"
	@echo "make check            lint, types, layering and the tests of pure code: no database, models or browser"
	@echo "make coverage         the tests, and which lines and branches they take"
	@echo "make chaos            the portal under kills and faults; both databases; ARGS='--files 40 --database postgres --seed 7'"
	@echo "make scale            a million tasks beside the bare operations; ARGS='--objects 20000'"
	@echo "make scale TASKS='1000000 10000000'   a year of many accounts on a private PostgreSQL, the sizes compared"
	@echo "make bench            recognition beside its peers; ARGS='--manifest FILE --speakers --rounds 3'"
	@echo "make gpu-kit          models and recordings for gpu-check, in $(KIT); ARGS='--manifest FILE'"
	@echo "make gpu-check        recognition on this machine's GPU: is it right, and how fast; ARGS='--seconds 600'"
	@echo "make lint             ruff, mypy, import-linter, djhtml, djlint, biome, tsc, bandit and the migrations check"
	@echo "TORCH=cpu|cuda|auto   which build of PyTorch is installed; auto looks for an NVIDIA driver"

# What running needs. Says what will be fetched before it fetches anything.
$(RUNTIME): requirements.lock pyproject.toml .deploy/install_packages.py
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed (set PYTHON=/path/to/python3)." >&2; exit 1; }
	@echo "==> Creating the environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python .deploy/install_packages.py runtime --torch $(TORCH) $(addprefix --extra ,$(EXTRAS))
	@$(BIN)/python -c "import django, torch, whisper"
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/python" -m speechportal.cli.main "$$@"\n' "$(CURDIR)" "$(CURDIR)/$(BIN)" > $(BIN)/speechportal
	@chmod +x $(BIN)/speechportal
	@touch $@

# What tests and development need besides.
$(READY): $(RUNTIME)
	@$(BIN)/python .deploy/install_packages.py development --torch $(TORCH)
	@$(BIN)/python -c "import pytest, swift"
	@touch $@

models: $(RUNTIME)
	@$(BIN)/python manage.py models fetch

migrate: $(RUNTIME)
	@$(BIN)/python manage.py migrate --verbosity 0

demo: models migrate
	@$(BIN)/python manage.py demo --bind $(BIND) --storage $(STORAGE) $(if $(EXIT),--exit)

run: models migrate
	@exec $(BIN)/python manage.py run --bind $(BIND)

test: $(READY) models
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not browser and not chaos and not hosts and not programs" $(ARGS)

# Tests of pure code: no database, no models, no servers.
PURE := tests/formats tests/repository/test_imports.py tests/models/test_object_names.py \
    tests/outbound/test_addresses.py tests/postprocessing \
    tests/settings/test_env.py tests/storage/test_endpoints.py tests/webhooks/test_schedule.py \
    tests/webhooks/test_signing.py \
    $(foreach name,assignment batching chinese_script chunks clustering coverage \
        decoded_chunk language_spans phantom_text protocol quality retries speech_segments word_times, \
        tests/recognition/test_$(name).py)

# The inner loop, under a minute: types by mypy's server, which remembers what it has seen (the first run takes minutes).
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/dmypy run -- .
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -q -n $(JOBS) $(PURE) $(ARGS)

coverage: $(READY) models
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not browser and not chaos and not hosts and not programs" --cov --cov-report=term:skip-covered $(ARGS)

chaos: $(READY) models
	$(BIN)/python -m tests.chaos $(ARGS)

# With TASKS, one size or several, on a private PostgreSQL with memory for them. TASKS=10000000 takes 45 GB of disk.
GROWTH_SETTINGS := shared_buffers=4GB effective_cache_size=12GB max_wal_size=8GB wal_level=minimal max_wal_senders=0 \
    checkpoint_timeout=30min
scale: $(READY)
	$(if $(TASKS),POSTGRES_SETTINGS="$(GROWTH_SETTINGS)" .ci/with-postgres $(BIN)/python -m tests.bench_growth --tasks $(TASKS) $(ARGS),$(BIN)/python -m tests.bench_scale $(ARGS))

bench: $(READY) models
	$(BIN)/python manage.py bench $(ARGS)

gpu-kit: $(READY) models
	$(BIN)/python -m batches.recognition.bench.gpu_check --kit $(KIT) prepare $(ARGS)

# Needs no installation: any python3 with torch for CUDA, numba and tiktoken will do; the kit has the rest.
gpu-check:
	PYTHONPATH=$(abspath $(KIT))/packages $(GPU_PYTHON) -m batches.recognition.bench.gpu_check --kit $(KIT) run $(ARGS)

lint: $(READY) lint-javascript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	$(BIN)/djhtml --tabwidth 2 --check templates
	$(BIN)/djlint --lint --quiet templates
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive speechportal domains batches manage.py
	$(BIN)/python manage.py makemigrations --check --dry-run

# The portal needs no Node.js; its scripts are checked with it. Versions are in .ci/javascript/package-lock.json.
NODE_TOOLS := .ci/javascript/node_modules
$(NODE_TOOLS): .ci/javascript/package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed to check the scripts of the pages." >&2; exit 1; }
	npm ci --prefix .ci/javascript --no-audit --no-fund --loglevel error
	@touch $(NODE_TOOLS)

lint-javascript: $(NODE_TOOLS)
	$(NODE_TOOLS)/.bin/biome ci --colors=off --config-path=.ci/javascript speechportal/static/portal
	$(NODE_TOOLS)/.bin/tsc --project .ci/javascript/tsconfig.json

# Exact versions of everything the project runs on and is tested with.
lock: $(READY)
	@echo "# Exact versions of everything the project runs on and is tested with (Python 3.11 to 3.13, Linux x86-64); made by make lock." > requirements.lock.new
	@$(BIN)/pip-compile --quiet --extra redis --extra sentry --extra swift --extra dev --strip-extras --no-header --no-annotate --no-emit-index-url \
	    --no-emit-find-links --no-emit-trusted-host --output-file - pyproject.toml | sed 's/+cpu$$//' | grep '==' >> requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
