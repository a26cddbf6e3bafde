# Two commands: `make run` starts Eccolens, `make test` runs everything that CI runs. Both set up .venv first.
# Options of the app: make run ARGS="--port 8000". Another Python: make run PYTHON=/path/to/python3.12

PY = .venv/bin/python
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM PYTHON

.NOTPARALLEL:
.PHONY: help run test check format clean

help:
	@echo "make run    set up and start Eccolens; options go into ARGS, such as ARGS=\"--port 8000\""
	@echo "make test   set up and run everything that CI runs"
	@echo "make check  format, lint, types and tests, without the set-up"
	@echo "make format rewrite the code in the house format"
	@echo "make clean  remove .venv and the tools' caches"

run:
	@.ci/setup
	@$(PY) -m analyzers --prepare
	@$(PY) app.py --prepare
	@$(PY) app.py $(ARGS)

test:
	@.ci/setup dev
	@$(PY) -m analyzers --prepare
	@[ -x "$(CHROMIUM)" ] || echo "No $(CHROMIUM), so the browser tests are skipped; to run them: sudo apt install chromium fonts-noto-cjk fonts-noto-color-emoji (or CHROMIUM=/path make test)"
	@$(MAKE) --no-print-directory check

check:
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	rm -f ui/*.pyi ui/*/*.pyi  # stubs that Gradio writes beside its components, which mypy would read instead
	$(PY) -m mypy
	.venv/bin/oxlint --deny-warnings ui/components
	$(PY) -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

format:
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
