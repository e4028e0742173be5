# `make demo` and `make test` set up what they need in .venv; PYTHON chooses the interpreter for it.
PYTHON ?= python3
WORKDIR ?= runs/digits_gap
BIN = .venv/bin
READY = .venv/.ready

.PHONY: demo test test-slow bench lint format requirements

demo: $(READY)
	$(BIN)/python launch.py --config=experiments/digits_gap.py --workdir=$(WORKDIR)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist=loadgroup

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# The short set, on the run in WORKDIR; benchmarks/README.md lists the others.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	test -f $(WORKDIR)/gap.json || $(MAKE) demo
	$(BIN)/python benchmarks/run.py --run=$(WORKDIR)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements:
	uv pip compile --quiet --universal --python-version 3.11 requirements.in -o requirements.txt \
		--custom-compile-command "make requirements"

$(READY): requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v[:2] in [(3, 11), (3, 12), (3, 13)] else \
		f"vaelab needs Python 3.11, 3.12 or 3.13 and this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $(READY)
