# One door for every command. Each target first makes .venv, and makes it anew when pyproject.toml changed.
#   make PYTHON=python3.12 test    uses another Python (3.11 or newer)

PYTHON ?= python3
SECONDS ?= 300
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EVM := .venv-evm
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The pyright wheel carries pyright, its companion wheel carries node: nothing is fetched at run time.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DELETE_ON_ERROR:
.PHONY: help demo check test coverage slow slow-tests kills thorough evm sim soak chaos crash fuzz bench bench-quick clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | column -t -s:

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "moorage needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(PIP) install --upgrade 'pip>=25' 'setuptools>=77'
	@# As a folder on the path: as an import hook it would take as long to load, at every start, as Python itself.
	@PYTHONWARNINGS=ignore $(PIP) install --config-settings editable_mode=compat --editable '.[dev,demo]'
	@$(BIN)/python -m compileall -q moorage core erasure anchor wire dht host client daemon cli
	@touch $@

demo: $(STAMP) ## a whole pool on this machine, damaged, repaired and read back
	$(BIN)/moorage demo

check: $(STAMP) ## ruff, mypy, pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright

test: $(STAMP) ## the fast tests
	$(BIN)/pytest -q -n 2 --dist worksteal -m 'not slow'

coverage: $(STAMP) ## branch coverage of the fast tests that need no processes
	$(BIN)/pytest -q -n 2 --dist worksteal -m 'not slow' --ignore tests/integration --cov --cov-report=term:skip-covered

# Parts, so that make --jobs=2 runs them beside one another and beside the simulator.
slow: slow-tests kills thorough evm ## real processes under load, a thousand kills, every byte changed: about 40 minutes

slow-tests: $(STAMP)
	$(BIN)/pytest -q -m slow

kills: $(STAMP)
	$(BIN)/python -m tests.chaos kills --kills 1000 --patience 1500

# In an environment of its own: what a chain needs pins releases that nothing else should have to keep to.
evm: $(EVM)/.installed ## checkpoints on a chain: eth-tester and py-evm in process
	$(EVM)/bin/pytest -q -m slow tests/chain

$(EVM)/.installed: pyproject.toml
	@$(PYTHON) -m venv $(EVM)
	@$(EVM)/bin/python -m pip --disable-pip-version-check --quiet install --editable '.[evm,chain]'
	@touch $@

thorough: $(STAMP)
	$(BIN)/pytest -q -n 2 -m 'hypothesis and not slow' --hypothesis-profile thorough tests/core tests/wire tests/anchor tests/dht tests/client

# CHAOS="kills --kills 1000" plays one scenario for longer; CHAOS=--list names them.
chaos: $(STAMP) ## the installed wheel killed, starved, cut off from power and from its peers, about 10 minutes
	$(BIN)/python -m tests.chaos $(or $(CHAOS),--patience 60 --seconds 10 --cuts 3)

crash: $(STAMP) ## power cuts, kills and failing calls at every disk operation: a table (CRASH=--thorough for all images)
	$(BIN)/python -m tests.crash $(CRASH)

fuzz: $(STAMP) ## coverage-guided fuzzing of every parser: make fuzz SECONDS=300 TARGET='index policy'
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install --editable '.[fuzz]'
	$(BIN)/python -W ignore -m tests.doubt.fuzz --seconds $(SECONDS) $(TARGET)

# BENCH="--only file --rounds 3" measures a part; benchmarks/plans.py says how much of what.
bench: $(STAMP) ## every figure beside Tahoe-LAFS and restic in one run, compared with the last run: hours
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: $(STAMP) ## a little of all of it in under 3 minutes, to see that it works
	$(BIN)/python -m benchmarks --quick --no-history $(BENCH)

# Fresh seeds for every commit, the same for all who have it.
SIM_SECONDS ?= 1200
SIM_JOBS ?= $(shell nproc)
SOAK_SECONDS ?= 28800

sim: $(STAMP) ## fresh seeds of this commit through the simulator for SIM_SECONDS (1200)
	$(BIN)/python -m tests.sim --jobs $(SIM_JOBS) --seconds $(SIM_SECONDS) --from $$(git rev-parse --short=8 HEAD)

# RECORD=FILE appends what it came to; python -m tests.sim --sum FILE adds up.
soak: $(STAMP) ## the same for SOAK_SECONDS (8 hours), failures shortened on the way
	$(BIN)/python -m tests.sim --jobs $(SIM_JOBS) --seconds $(SOAK_SECONDS) --from $$(git rev-parse --short=8 HEAD) --keep-going --minimise $(if $(RECORD),--record $(RECORD))

clean: ## forget the environment, caches and build products
	rm -rf $(VENV) $(EVM) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
