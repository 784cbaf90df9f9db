# Two commands do all the set-up: `make demo` and `make test`. PYTHON names the interpreter that makes the environment.
PYTHON ?= python3
BIN := .venv/bin
CHECK := import sys; v = sys.version_info[:2]; \
	v >= (3, 11) or sys.exit("finattn needs Python 3.11 or newer with venv, found %d.%d: install one and run" \
	" make PYTHON=python3.11 %s" % (*v, "$(MAKECMDGOALS)"))

.PHONY: demo test lint full package notebooks clean

demo: .venv/installed
	$(BIN)/finattn run configs/sp500.yaml

full: .venv/installed
	$(BIN)/finattn run configs/sp500_full.yaml

test: lint
	$(BIN)/python -m pytest --cov --cov-report=term

lint: .venv/installed-dev
	$(BIN)/ruff check finattn tests benchmarks
	$(BIN)/ruff format --check finattn tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Builds what is handed out, and tries it in an empty environment outside this folder.
package: .venv/bin/python
	PYTHON=$(BIN)/python .ci/package

# Executes notebooks/N_name.py, which are what one edits, into the .ipynb beside them.
notebooks: .venv/installed-dev
	$(BIN)/python notebooks/execute.py

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "finattn needs Python 3.11 or newer, found no $(PYTHON):" \
		"install one, or name it: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c '$(CHECK)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "finattn needs Python's venv module:" \
		"on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }

# Nothing is installed again unless what is asked for has changed.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch .venv/installed $@

clean:
	rm -rf .venv runs dist .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
