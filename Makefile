# make demo   everything, from nothing to both pages in the browser
# make test   every test
# make check  lint, format and types
# make space  RUN=ID [OUT=folder]: the clinician's page with one run, as a Hugging Face Space
# make phone  RUN=ID [OUT=folder]: a static page that answers on the phone, without a server
PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check format space phone clean

demo: .venv/installed
	@$(BIN)/python -m core.demo
	@exec $(BIN)/python -m dashboard

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

space: .venv/installed
	$(if $(RUN),,$(error A Space serves one run. Received: none. Name it: make space RUN=ID))
	@$(BIN)/python -m core.publish space --run $(RUN) --out $(or $(OUT),data/space)

phone: .venv/installed-export
	$(if $(RUN),,$(error A phone's page answers with one run. Received: none. Name it: make phone RUN=ID))
	@$(BIN)/python -m core.phone --run $(RUN) --out $(or $(OUT),data/phone)

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache

.venv/bin/python:
	$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f'DermLens needs Python 3.11 to 3.13. Received: {v[0]}.{v[1]}. Name another: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	@echo "Installing what DermLens needs (about two minutes)."
	$(PIP) -r requirements.txt
	@touch $@

.venv/installed-export: requirements-export.txt .venv/installed | .venv/bin/python
	$(PIP) -r requirements-export.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements-export.txt requirements-ray.txt .venv/installed | .venv/bin/python
	$(PIP) -r requirements-dev.txt
	@touch $@
