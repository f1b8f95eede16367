# Each target makes .venv and installs what it needs by itself. PYTHON chooses the interpreter (3.11 or later).
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/.installed

.PHONY: demo study test unit wheel docs check format clean

demo: $(STAMP)  ## simulate a subject, decode it, write runs/demo/report/index.html
	$(BIN)/braindiffuser demo --out runs/demo

# what `reproduce` makes; the command `study` joins finished runs, or compares settings
study: $(STAMP)  ## four simulated subjects, two splits: the paper's five findings, write runs/study/index.html
	$(BIN)/braindiffuser reproduce --config examples/study.yaml --subjects 1 2 3 4 \
		--splits layout cluster:n_clusters=12,test_cluster=5 --ablated 20 --out runs/study

# In the order of their folders: integration tests, which take longest, begin first.
test: $(STAMP)  ## all tests, in as many processes as WORKERS says, each with one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

unit: $(STAMP)  ## unit tests alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile tests/unit

wheel: $(STAMP)  ## build dist/, install the wheel in a fresh environment and use it
	$(BIN)/python release/try_wheel.py

docs: $(STAMP)  ## the documentation as a site, build/docs/index.html; every warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs build/docs

check: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## rewrite to the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment; runs stay
	rm -rf $(VENV)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $(STAMP)
