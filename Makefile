# `make chat` and `make test` do all the set-up that they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
N      ?= 500
SEED   ?=
JOBS   ?= 5000
DB     ?= postgres

ON_POSTGRES := tests/postgres tests/jobs tests/spec tests/mcp tests/test_events.py tests/test_store.py tests/test_statements.py

.PHONY: chat start test test-postgres check format proofs fire chaos chaos-jobs fuzz bench lock clean

chat: $(READY)
	@$(BIN)/laneway init --quiet
	@$(BIN)/laneway chat

start: $(READY)
	@$(BIN)/laneway start

test: $(READY)  # on SQLite; `make test-postgres` has what is about PostgreSQL
	@$(BIN)/python -m pytest -n 4 --dist loadgroup --ignore tests/postgres

test-postgres: $(READY)  # on PostgreSQL: its own, or the server that LANEWAY_TEST_POSTGRES names; WHAT=tests is everything
	@LANEWAY_TEST_DATABASE=postgres $(BIN)/python -m pytest -n 3 --dist loadgroup $(or $(WHAT),$(ON_POSTGRES))

check: $(READY)  # what a change must pass beside the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

proofs: $(READY)  # the tests that take minutes: random kills, every death of a channel, the page in a browser
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m long

fire: $(READY)  # jobs under fire for a minute on each database; `make chaos-jobs` goes on for thousands of jobs
	@$(BIN)/python -m pytest -m fire

chaos: $(READY)  # make chaos N=500 SEED=1: that many random kills
	@$(BIN)/python -m tests.crash.chaos --n $(N) $(if $(SEED),--seed $(SEED))

chaos-jobs: $(READY)  # make chaos-jobs JOBS=5000 SEED=1 DB=postgres: that many jobs, a kill every two seconds
	@$(BIN)/python -m tests.crash.chaos_jobs --n $(JOBS) --database $(DB) $(if $(SEED),--seed $(SEED))

fuzz: $(READY)  # the generated tests with examples that are new each time
	@LANEWAY_FUZZ=1 $(BIN)/python -m pytest -n 2 -m hypothesis

bench: $(READY)
	@$(BIN)/python -m tests.bench

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Laneway needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 …")'
	@echo "Setting up $(VENV): once, about a minute …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: $(READY)  # after a change of the dependencies in pyproject.toml; needs uv
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --all-extras pyproject.toml --output-file requirements.lock
	@sed -i '1i # Every package that Laneway and its tests use, pinned with hashes. Made by `make lock`.' requirements.lock

clean:
	rm -rf $(VENV)
