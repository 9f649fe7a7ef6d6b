PY := .venv/bin/python
SOURCES := fs_core fs_mlflow fs_sklearn fs_tf fs_torch examples tests
EXTRAS := redis,sklearn,torch,tf,mlflow,openlineage
WHEEL := build/wheel

help: ## what there is to do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/.installed: pyproject.toml tests/requirements.txt tests/constraints.txt
	python3 -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check -e '.[$(EXTRAS)]' -r tests/requirements.txt -c tests/constraints.txt
	touch $@

demo: .venv/.installed ## flights, from raw rows to a served prediction
	$(PY) -m examples.flights

lint: .venv/.installed ## linter, formatter, types
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy

test: lint ## lint, every test, and every test again on the built wheel
	$(PY) -m pytest -n 2
	$(MAKE) test-wheel

test-wheel: .venv/.installed ## every test on the built wheel, in an environment of its own
	rm -rf $(WHEEL)
	$(PY) -m pip wheel -q --disable-pip-version-check --no-deps -w $(WHEEL) .
	python3 -m venv $(WHEEL)/.venv
	$(WHEEL)/.venv/bin/python -m pip install -q --disable-pip-version-check \
		"$$(ls $(WHEEL)/*.whl)[$(EXTRAS)]" -r tests/requirements.txt -c tests/constraints.txt
	cp -r tests examples pyproject.toml README.md $(WHEEL)
	cd $(WHEEL) && FS_TESTED=wheel .venv/bin/python -m pytest -n 2

bench: .venv/.installed ## import, as-of and online reads beside peers
	$(PY) -m tests.benchmarks.bench_import
	$(PY) -m tests.benchmarks.bench_asof
	$(PY) -m tests.benchmarks.bench_online
	$(PY) -m tests.benchmarks.bench_online_write
	$(PY) -m tests.benchmarks.bench_materialize

loadtest: .venv/.installed ## serve a million entities under load; table, and picture in .out/
	$(PY) -m tests.benchmarks.loadtest

.PHONY: help demo lint test test-wheel bench loadtest
