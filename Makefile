# The two commands: `make up` starts everything, `make test` tests everything.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: up test check lint types fast bench clean

up: $(STAMP)
	$(BIN)/fasa up

# Most tests wait for processes and pages, so three at a time suit two cores.
test: $(STAMP)
	$(BIN)/pytest -n 3 --dist loadfile

check: lint types test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

fast: $(STAMP)
	$(BIN)/pytest -m "not slow and not browser"

bench: $(STAMP)
	@for file in benchmarks/bench_*.py; do \
		name=$$(basename $$file .py); echo "== $$name"; \
		$(BIN)/python -m benchmarks.$$name || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "missed:$$failed"; exit 1; }

# lvis declares the GUI build of OpenCV, which needs a display's libraries; the headless build of
# constraints.txt serves it as well, so it goes in without its own dependencies.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make up PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps lvis
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
