# Every target sets up .venv by itself when it is missing: Python >= 3.11 and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test test-kill test-openfoam test-all check docs examples bench study-amq dist clean

demo: $(STAMP)      ## train, test, predict and report on shipped cases (minutes)
	$(BIN)/meshops demo

test: $(STAMP)      ## the default tests
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

test-kill: $(STAMP) ## runs of every kind, killed at random moments and resumed (a minute or two)
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/test_kill.py

test-openfoam: $(STAMP) ## the programs of OpenFOAM on small cases; skipped where they are absent
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -m openfoam tests/solvers/openfoam -rs

test-all: $(STAMP)  ## the slow ones too
	$(BIN)/python -m pytest

check: $(STAMP)     ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

examples: $(STAMP)  ## every example in smoke mode gives the numbers it promises
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest tests/examples -n 2

docs: $(STAMP)      ## HTML pages in docs/_build/html; the gallery runs its scripts (some minutes)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

bench: $(STAMP)     ## operations, partitioners and MSPT step, with the peers that are installed
	$(BIN)/meshops bench partition
	$(BIN)/meshops bench ops
	$(BIN)/python benchmarks/mspt_step.py

study-amq: $(STAMP)  ## who should get the bits, at equal cost, 3 seeds (hours on one core; goes on where it stopped)
	$(BIN)/python benchmarks/amq_study.py

dist: $(STAMP)      ## source distribution and wheel, checked
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('meshops needs Python 3.11 or newer, this is ' + sys.version.split()[0] + '; try: make PYTHON=python3.12') if sys.version_info < (3, 11) else None"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf docs/_build docs/gallery docs/scenes/runs $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
