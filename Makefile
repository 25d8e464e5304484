# `make chat` and `make test` do all the set-up that they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: chat start test lock clean

chat: $(READY)
	@$(BIN)/laneway chat

start: $(READY)
	@$(BIN)/laneway start

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Laneway needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 …")'
	@echo "Setting up $(VENV) (once; about a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(READY)
	@$(BIN)/python -m pytest

clean:
	rm -rf $(VENV)
