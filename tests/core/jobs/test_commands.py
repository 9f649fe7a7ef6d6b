"""`fs run --once` and `fs list --jobs`, and schedules in YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fs_core import FeatureStore, FeatureView, Field, Schedule
from fs_core.cli.group import cli
from fs_core.errors import ConfigurationError, DefinitionError, VersionConflictError
from fs_core.jobs import Runner
from fs_core.registry.jobs import JobStorage
from fs_core.values.times import from_micros
from tests.core.jobs.conftest import HOUR, USER, HandClock, visits, write_rows

Shop = Callable[..., FeatureStore]


def fs(store: FeatureStore, *words: str) -> Result:
    """Run a command on a store."""
    return CliRunner().invoke(cli, ["--store", str(store.directory), *words])


def test_once_exits_with_1_where_a_job_failed(shop: Shop, tmp_path: Path) -> None:
    """Programs get each job's end as JSON, people a table and the error below it; the next round tries again."""
    store = shop(visits("a", "broken", online=False), visits("b", online=False))
    failed = fs(store, "run", "--once", "--json")
    assert failed.exit_code == 1
    first, second = json.loads(failed.stdout)
    assert (first["view"], first["last"], first["rows"]) == ("a:v1.0.0", "failed", 0)
    assert "broken" in first["error"]
    assert (second["view"], second["last"], second["rows"], second["error"]) == ("b:v1.0.0", "done", 3, None)
    listed = fs(store, "list", "--jobs")
    assert listed.exit_code == 0
    assert f"a: {first['error']}" in listed.stdout
    assert [row["last"] for row in json.loads(fs(store, "list", "view", "--jobs", "--json").stdout)] == [
        "failed",
        "done",
    ]
    write_rows(tmp_path, range(1), "broken")
    mended = fs(store, "run", "--once")
    assert mended.exit_code == 0
    assert "b:v1.0.0" not in mended.stdout
    assert fs(store, "run", "--once").stdout == "nothing is due\n"


def test_what_cannot_be_run_says_why(shop: Shop) -> None:
    """Another process runs the jobs; a view that isn't there; nothing has a schedule; a list of two kinds."""
    store = shop(visits())
    with JobStorage(store.registry.database).alone():
        busy = fs(store, "run", "--once")
        assert (busy.exit_code, busy.stdout) == (0, "another process runs the jobs; nothing was run\n")
    unknown = fs(store, "run", "--once", "visit")
    assert unknown.exit_code == 1
    assert "Did you mean 'visits'" in unknown.stderr
    assert fs(store, "list", "--jobs", "--all").exit_code == 2
    store.retire("visits:v1.0.0")
    assert fs(store, "list", "--jobs").stdout == "no view has a schedule; see fs run --help\n"


def test_a_schedule_changes_no_meaning(shop: Shop) -> None:
    """Another schedule is a patch of the same digest, whose rows stay; as the same version it is refused."""
    first = visits()
    store = shop(first)
    store.backfill("visits")
    second = replace(first, schedule=Schedule("0 3 * * *", lookback="2d"))
    assert second.digest == first.digest
    assert second != first
    with pytest.raises(VersionConflictError, match=r"schedule[\s\S]*1\.0\.1"):
        store.apply(second)
    store.apply(replace(second, version="1.0.1"))
    assert store.history("visits:v1.0.1").num_rows == 3
    assert "0 3 * * *, lookback 2d" in fs(store, "show", "visits").stdout
    assert replace(first, schedule=None).documentation().keys() == first.documentation().keys() - {"schedule"}


@pytest.mark.parametrize("schedule", ["90m", "30 3 * * mon", Schedule("1d", lookback="2d", reference="march")])
def test_schedules_are_written_as_yaml(shop: Shop, schedule: Any) -> None:
    """Text where only the interval or cron text is said, else a mapping; both read back equal."""
    view = visits(schedule=schedule)
    store = shop(view)
    assert view in store.read_yaml(store.to_yaml("visits"))


def test_a_schedule_in_yaml_is_refused_by_its_line(shop: Shop) -> None:
    """The error names file, line and view."""
    store = shop(visits())
    text = store.to_yaml("visits").replace("schedule: 1h", "schedule: hourly *")
    with pytest.raises(DefinitionError, match=r"^v.yaml:\d+: view 'visits': schedule: 'hourly \*' is no cron text"):
        store.read_yaml(text, "v.yaml")


def test_a_cron_text_is_applied_where_it_can_be_judged(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a new one is refused, one that is registered isn't; with it, what means nothing is refused."""
    store = shop(visits(schedule="0 3 * * *"))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "cronsim", None)
        typo = visits("typo", schedule="61 3 * * *")
        with pytest.raises(ConfigurationError, match=r"^view 'typo:v1\.0\.0': .*pip install 'fs-core\[jobs\]'"):
            store.apply(typo)
        assert not store.apply(visits(schedule="0 3 * * *")).changed
    for act in (store.plan, store.apply):
        with pytest.raises(DefinitionError, match=r"^view 'typo:v1\.0\.0': schedule: '61 3 \* \* \*' is no cron text"):
            act(typo)


def test_a_bad_cron_text_in_the_registry_stops_nothing_else(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was registered where nobody could judge it is shown and exported, and may be replaced or deleted."""
    store = shop(visits(online=False))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "cronsim", None)
        bad = visits("bad", schedule=Schedule("61 3 * * mo", reference="march"), online=False)
        store.registry.apply([bad, replace(bad, name="worse")])
    shown = fs(store, "show", "bad")
    assert (shown.exit_code, "61 3 * * mo, reference march" in shown.stdout) == (0, True)
    for words in ("export", "list --jobs", "compact visits", "delete worse:v1.0.0"):
        assert fs(store, *words.split()).exit_code == 0, words
    with pytest.raises(DefinitionError, match=r"'61 3 \* \* mo' is no cron text"):
        store.view("bad").scheduled.next_after(0)  # type: ignore[union-attr]
    store.apply(replace(bad, schedule=Schedule("1 3 * * mon")))
    assert str(store.view("bad").schedule) == "1 3 * * mon"


def test_a_schedule_with_nothing_to_do_is_refused() -> None:
    """No source to run, not online, nothing to monitor; a lookback without a source."""
    fields = [Field("n", "int64", "N.")]
    with pytest.raises(DefinitionError, match="its schedule has nothing to do"):
        FeatureView("v", USER, fields, online=False, schedule="1h")
    with pytest.raises(DefinitionError, match="lookback is for a source that is run"):
        FeatureView("v", USER, fields, schedule=Schedule("1h", lookback="1d"))


def test_an_alarm_is_no_failure(shop: Shop, clock: HandClock) -> None:
    """What monitoring found is kept and makes `--once` exit with 1, and the job is due by its schedule."""
    fields = [Field("n", "int64", "N.", max_null_rate=0.05)]
    view = FeatureView(
        "watched", USER, fields, description="W.", online=False, schedule=Schedule("1h", reference="set")
    )
    store = shop(view)
    for day, value in ((48, 1), (2, None)):
        moment = from_micros(clock.moment - day * HOUR)
        store.write("watched", {"id": range(60), "event_timestamp": [moment] * 60, "n": [value] * 60})
    spine = {"id": range(60), "event_timestamp": [from_micros(clock.moment - 24 * HOUR)] * 60}
    store.save_training_set(store.get_historical_features(spine, "watched"), "set")
    (job,) = Runner(store, now=clock.now).run_once() or ()
    assert job.state.status == "alarm"
    assert "n" in str(job.state.alarm)
    assert job.state.error is None
    assert job.due % HOUR == 0
