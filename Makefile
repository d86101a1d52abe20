# `make demo` and `make test` set up what they need, inside .venv, the first time.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard proto/runcast/v1/*.proto)
SERVICES := $(addprefix proto/runcast/v1/,admin.proto inbox.proto ingest.proto)

.PHONY: help setup demo test lint proto proto-check lock bench clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## create .venv from requirements.lock (does nothing the second time)

.venv/.ready: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if command -v uv >/dev/null; then uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock; fi
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## run the whole system with a page to talk to; Ctrl-C ends it
	@exec $(BIN)/runcast demo

test: setup ## the whole suite, with real servers
	@$(BIN)/python -m pytest

lint: setup ## style, types, room order, protos, committed stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
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

lock: setup ## resolve requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --universal --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" -o requirements.lock

bench: setup ## figures of this machine
	$(BIN)/runcast bench

clean:
	rm -rf .venv build dist
