# The two commands: `make leaderboard` and `make test`. Both create .venv from pyproject.toml when it is missing or stale.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# nproc obeys OMP_NUM_THREADS, which is about threads of one process.
CORES ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || sysctl -n hw.ncpu)
ARGS ?=
export OMP_NUM_THREADS ?= 1

.PHONY: leaderboard test lint format benchmarks clean help

leaderboard: $(VENV)/.installed ## build results/leaderboard.{html,md} (embedded data unless config/config.yaml says otherwise)
	$(BIN)/snakemake --cores $(CORES) $(ARGS)
	@echo; echo "Written: results/leaderboard.html (and .md)"

test: $(VENV)/.installed ## run the tests; tests/conftest.py says what stays on one worker
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(CORES) --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed ## ruff, snakefmt and snakemake's own linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check --compact-diff workflow
	$(BIN)/snakemake --lint

format: $(VENV)/.installed ## rewrite the sources as lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

benchmarks: $(VENV)/.installed ## what the suite costs in time and memory: one table (ARGS=--quick for a short one)
	$(BIN)/python -m benchmarks $(ARGS)

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

clean: ## remove what the embedded data produced (released data and their results stay)
	rm -rf data/mini results/mini weights/mini results/leaderboard.* results/.leaderboard.* results/figures

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"
