# `make demo` and `make test` set up what they need, inside .venv, the first time.
PYTHON ?= python3
FUZZ_S ?= 60
SEEDS ?= 1 2 3 4 5 6 7 8 9 10
BIN := .venv/bin
PROTOS := $(wildcard proto/runcast/v1/*.proto)
SERVICES := $(addprefix proto/runcast/v1/,admin.proto inbox.proto ingest.proto)
COMPILE = $(BIN)/uv pip compile -q --generate-hashes --universal --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
SBOM = $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --sv 1.6 --output-reproducible --of JSON

.PHONY: help setup demo test test-tools lint proto proto-check lock audit sbom bench verify soak fuzz clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## create .venv from requirements.lock (does nothing the second time)

.venv/.ready: requirements.lock pyproject.toml
	@echo "setting up .venv; the first time takes a minute or two"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@# without ensurepip (Debian: python3-venv), venv fails half-way: what it leaves must not pass for an environment the next time
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	@# compiled here, once: where Python is told to write no bytecode, every process of the system would compile all it imports
	@if command -v uv >/dev/null; then uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock; fi
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## run the whole system with a page to talk to; Ctrl-C ends it
	@exec $(BIN)/runcast demo

test: setup test-tools ## the whole suite, with real servers
	@$(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder  # most tests wait: four at once keep two cores busy

test-tools: ## install what the suite needs from Debian (Chromium, Firefox, npm, kubectl), where it is missing
	@.ci/tools

lint: setup ## style, types, room order, protos, committed stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit -q -c pyproject.toml -r proto bus router edge admin agents_client cli deploy
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(MAKE) --no-print-directory proto-check

proto: setup ## regenerate the stubs from proto/runcast/v1/*.proto
	@$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto --pyi_out=proto $(PROTOS)
	@$(BIN)/python -m grpc_tools.protoc -Iproto --grpc_python_out=proto --mypy_grpc_out=quiet:proto \
	  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc $(SERVICES)

proto-check: proto
	@git diff --exit-code -- proto/runcast/v1 || { echo "stubs differ: commit what 'make proto' wrote"; exit 1; }

lock: setup ## resolve the lock files again (UPGRADE=1: to the newest versions)
	$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	$(COMPILE) pyproject.toml --extra server -c requirements.lock -o deploy/requirements.lock
	$(COMPILE) pyproject.toml --extra fuzz -c requirements.lock -o tests/fuzz/requirements.lock
	printf 'hatchling\nuv\n' | $(COMPILE) - -c requirements.lock -o deploy/build.lock

audit: setup ## are there known vulnerabilities in what is locked? (REQUIRED=1: it counts, too, if nobody could be asked)
	@$(BIN)/python .ci/audit.py $(if $(REQUIRED),--required)

sbom: setup ## what images hold, and what builds and tests them, as CycloneDX JSON in dist/
	@mkdir -p dist
	@PYTHONWARNINGS=ignore $(SBOM) deploy/requirements.lock -o dist/runcast-images.cdx.json
	@PYTHONWARNINGS=ignore $(SBOM) requirements.lock -o dist/runcast-development.cdx.json
	@ls dist/*.cdx.json

bench: setup ## figures of this machine
	$(BIN)/runcast bench

verify: setup ## prove every promise under faults, ten seeds of a minute each, half of them on three nats-servers
	@for seed in $(SEEDS); do $(BIN)/runcast verify --seed $$seed --duration 60 --users 40 --nats $$(($$seed % 2 * 2 + 1)) || exit 1; done

soak: setup ## ten minutes at 1,000 events a second: does the memory of any process grow?
	$(BIN)/runcast soak

fuzz: setup ## hostile input to everything that faces outside, FUZZ_S=60 seconds each (KEEP=1: add to the corpus; FUZZ="token http": only these)
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r tests/fuzz/requirements.lock
	@$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_S) $(if $(KEEP),--keep) $(FUZZ)

clean: ## remove what the other targets made
	rm -rf .venv build dist
