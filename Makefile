PY := .venv/bin/python
# Modules are compiled when they are first imported, since most of what is installed never is; and not again then.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(PY) -m pip install -q --disable-pip-version-check --no-compile
SOURCES := fs_core fs_mlflow fs_sklearn fs_tf fs_torch examples tests
EXTRAS := all
WHEEL := build/wheel
SPARK := build/spark
ENGINES := build/engines
# Tests write many small files: to memory where there are 8 GB for them, since a disk takes a tenth of all time.
MEMORY := $(shell (test $$(df --output=avail /dev/shm | tail -n 1) -gt 8000000 && echo -p /dev/shm) 2>/dev/null || echo -t)
# Tests that import PyTorch, TensorFlow and MLflow: those take so long that one process alone should.
FRAMEWORK_TESTS := tests/test_readme.py $(wildcard tests/*_adapter)
SPARK_TESTS := tests/core/retrieval/spark \
	'tests/test_readme.py::test_every_page_runs_as_written[fs_core/retrieval/spark/README.md]'

help: ## what there is to do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/.made: tests/constraints.txt
	python3 -m venv .venv
	touch $@

# What the demo uses. That what is installed beside it lacks something yet is no news.
.venv/.demo: .venv/.made pyproject.toml examples/requirements.txt
	$(INSTALL) --no-warn-conflicts -e '.[sklearn]' -r examples/requirements.txt -c tests/constraints.txt
	touch $@

# Beside it what takes as long to unpack as all the rest. What these two need comes with the rest.
.venv/.large: .venv/.made
	$(INSTALL) --no-deps tensorflow-cpu torch -c tests/constraints.txt
	touch $@

# The rest, in the same environment.
.venv/.installed: .venv/.demo .venv/.large tests/requirements.txt
	$(INSTALL) -e '.[$(EXTRAS)]' -r tests/requirements.txt -c tests/constraints.txt
	touch $@

demo: .venv/.demo ## flights, from raw rows to a served prediction
	$(PY) -m examples.flights

lint: .venv/.installed ## linter, formatter, types
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy

test: ## lint, and every test on the built wheel
	$(MAKE) -j 2 .venv/.installed
	$(MAKE) -j 2 tests lint spark frameworks

# A command beside the wheel, with a directory of its own for what tests write: others' servers must get in.
define tested
	cd $(WHEEL) && made=$$(mktemp -d $(MEMORY) fs.XXXX) && trap 'rm -rf "$$made"' EXIT && chmod 1777 "$$made" \
		&& TMPDIR="$$made" FS_TESTED=wheel $(1)
endef

# Tests wait for servers now and then, so two cores take three at once, beside what else is to do. Those of a file go to
# one worker, so that what they share is made once.
tests: wheel
	$(call tested,.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
		$(addprefix --ignore=,$(FRAMEWORK_TESTS)))

frameworks: wheel
	$(call tested,.venv/bin/python -m pytest $(FRAMEWORK_TESTS))

# A new environment that finds what it hasn't in .venv.
define environment
	rm -rf $(1)
	python3 -m venv --without-pip $(1)
	$(PY) -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$(ls -d $(1)/lib/python*/site-packages)/dependencies.pth"
endef

# The wheel in an environment of its own, and beside it what the tests read.
wheel: .venv/.installed
	rm -rf $(WHEEL) build/lib build/bdist.*
	$(PY) -m pip wheel -q --disable-pip-version-check --no-deps -w $(WHEEL) .
	$(call environment,$(WHEEL)/.venv)
	$(PY) -m pip --python $(WHEEL)/.venv install -q --disable-pip-version-check \
		"$$(ls $(WHEEL)/*.whl)[$(EXTRAS)]" -r tests/requirements.txt -c tests/constraints.txt
	# MLflow starts its server by uvicorn's script, which must be this environment's own.
	$(PY) -m pip --python $(WHEEL)/.venv install -q --disable-pip-version-check --no-deps --ignore-installed uvicorn
	cp -r tests examples pyproject.toml README.md $(WHEEL)

# Apart from the others: MLflow imports whatever pyspark there is, whose client ends tests' workers, see
# `tests.core.retrieval.spark.sessions`. Where there is no Sail for the machine, the tests are left out.
spark: wheel ## Spark's tests, on Sail, and on the Spark that SPARK_HOME names if there is one
	$(call environment,$(SPARK))
	if $(PY) -m pip --python $(SPARK) install -q --disable-pip-version-check --only-binary=pysail pysail \
		"$$(ls $(WHEEL)/*.whl)[spark]" -c tests/constraints.txt; \
	then $(call tested,"$(CURDIR)/$(SPARK)/bin/python" -m pytest $(SPARK_TESTS)); \
	else echo "Spark's tests are left out: Sail can't be installed here"; fi

# By hand: they are large, and start processes of their own.
engines: .venv/.installed ## Ray and a cluster of Dask's answer questions, in an environment of their own
	$(call environment,$(ENGINES))
	$(PY) -m pip --python $(ENGINES) install -q --disable-pip-version-check distributed ray -c tests/constraints.txt
	$(ENGINES)/bin/python -m pytest tests/core/retrieval/engines tests/examples/test_ray_parts.py

search: .venv/.installed ## properties on random examples, other ones each time
	HYPOTHESIS_PROFILE=search $(PY) -m pytest -n 3 $$(grep -rlE "@given|RuleBasedStateMachine" tests)

extras: .venv/.installed ## each extra alone in an environment of its own; long, gigabytes
	$(PY) -m tests.extras

.venv-feast/.installed:
	python3 -m venv .venv-feast
	.venv-feast/bin/python -m pip install -q --disable-pip-version-check 'feast[duckdb,redis]==0.67.0'
	touch $@

bench: .venv/.installed ## import, as-of and online reads beside peers; Feast where it can be installed
	-$(MAKE) .venv-feast/.installed
	$(PY) -m tests.benchmarks.bench_import
	$(PY) -m tests.benchmarks.asof
	$(PY) -m tests.benchmarks.online
	$(PY) -m tests.benchmarks.bench_on_demand
	$(PY) -m tests.benchmarks.bench_wide
	$(PY) -m tests.benchmarks.bench_write
	$(PY) -m tests.benchmarks.bench_push
	$(PY) -m tests.benchmarks.bench_ingest
	$(PY) -m tests.benchmarks.bench_online_write
	$(PY) -m tests.benchmarks.bench_materialize
	$(PY) -m tests.benchmarks.bench_registry
	$(PY) -m tests.benchmarks.bench_spark
	$(PY) -m tests.benchmarks.bench_torch
	$(PY) -m tests.benchmarks.bench_tf
	$(PY) -m tests.benchmarks.bench_mlflow

loadtest: .venv/.installed ## serve a million entities under load, and over HTTP beside Feast; tables, and picture in .out/
	-$(MAKE) .venv-feast/.installed
	$(PY) -m tests.benchmarks.loadtest
	$(PY) -m tests.benchmarks.bench_capacity
	$(PY) -m tests.benchmarks.http_load

.PHONY: help demo lint test tests frameworks spark engines search extras wheel bench loadtest
