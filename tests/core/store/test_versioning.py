"""Versions of views at work: compared, served side by side, rolled back, retired."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field
from fs_core.errors import DefinitionError, NotOnlineError, UnknownReferenceError

user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
first = FeatureView("stats", user, [Field("score", "int64", "Score.")], description="Scores.")
second = dataclasses.replace(first, version="2.0.0", ttl="30d")
service = FeatureService("model_in", ["stats.*"])


@pytest.fixture
def two(tmp_path: Path) -> Iterator[FeatureStore]:
    """Two versions of a view with other rows each, written and online; a service takes the current one."""
    with FeatureStore(tmp_path) as store:
        store.apply(user, first, second, service)
        for version, score in (("1.0.0", 1), ("2.0.0", 2)):
            moment = datetime.now(UTC) - timedelta(days=1)
            store.write(f"stats:v{version}", {"user_id": [7], "event_timestamp": [moment], "score": [score]})
        store.materialize()
        yield store


def score(store: FeatureStore, ref: str) -> int:
    """Return what is served for a reference."""
    (row,) = store.get_online_features(ref, {"user_id": [7]}).to_dicts()
    return int(row["score"])


def test_two_versions_are_served_side_by_side(two: FeatureStore) -> None:
    """An A/B test asks for two versions by alias; each is served, trained on and pinned as itself."""
    two.alias("stats:v1.0.0", "production")
    two.alias("stats:v2.0.0", "candidate")
    assert [score(two, f"stats@{alias}") for alias in ("production", "candidate")] == [1, 2]
    spine = {"user_id": [7], "event_timestamp": [datetime.now(UTC)]}
    made = [two.get_historical_features(spine, f"stats.score@{alias}") for alias in ("production", "candidate")]
    assert [ts.table["score"].to_pylist() for ts in made] == [[1], [2]]
    assert [ts.spec["features"][0]["ref"] for ts in made] == ["stats.score:v1.0.0", "stats.score:v2.0.0"]
    two.alias("stats:v2.0.0", "production")
    assert score(two, "stats@production") == 2
    assert two.recreate(made[0].spec, spine).fingerprint == made[0].fingerprint
    assert [a.alias for a in two.aliases("stats")] == ["candidate", "production"]
    assert two.aliases("model_in") == []


def test_rolling_back_serves_the_earlier_version_at_once(two: FeatureStore) -> None:
    """After a rollback a service takes the earlier version, whose rows are online already; `@time` stays true."""
    between = datetime.now(UTC)
    assert score(two, "model_in") == 2
    assert str(two.rollback("stats", to="1.0.0")) == "view stats: v2.0.0 -> v1.0.0"
    assert score(two, "model_in") == 1
    assert two.view(f"stats@{between.isoformat()}").version == "2.0.0"
    assert two.view(f"stats@{datetime.now(UTC).isoformat()}").version == "1.0.0"
    two.rollback("stats", to=f"@{second.digest[:8]}")
    assert score(two, "stats") == 2


def test_a_new_version_begins_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A version that takes over without history gives a warning, with how to fill it and how to go back."""
    documented = dataclasses.replace(first, version="1.0.1", owner="growth")
    third = dataclasses.replace(second, version="3.0.0", ttl="60d", online=False)
    with FeatureStore(tmp_path) as store:
        store.apply(first)
        store.apply(dataclasses.replace(first, version="1.1.0", ttl="1d"))  # over one that is empty itself
        store.rollback("stats", to="1.0.0")
        rows = {"user_id": [7], "event_timestamp": [datetime.now(UTC)], "score": [1]}
        store.write("stats", rows)
        store.apply(dataclasses.replace(first, version="0.9.0", ttl="2d"), documented)  # an older one; the same history
        assert not caplog.records
        store.apply(second, third)
        (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
        assert warning == (
            "view stats: v3.0.0 is current now and has no history yet, as v1.0.1 has: who asks for 'stats' without a "
            "version finds nothing, neither online nor in history. Fill it: store.write('stats', ...); "
            "store.carry_over('stats:v3.0.0', from_='stats:v1.0.1') keeps both clocks of the rows that are there. "
            "Or go back until then: store.rollback('stats', to='1.0.1'), or fs rollback stats 1.0.1."
        )
        caplog.clear()
        store.apply(second, third)
        store.rollback("stats", to="1.0.1")
        store.write("stats:v2.0.0", rows)
        assert not caplog.records


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        ("stats:v1.0.0", "2.0.0", r"names a version already\. Pass the name, and to='2\.0\.0'"),
        ("stats.score", "1.0.0", r"'stats\.score' is a feature; versions are those of its view 'stats'"),
        ("stats", "one", r"'stats:one' is no reference"),
    ],
)
def test_rollbacks_that_make_no_sense(two: FeatureStore, name: str, to: str, message: str) -> None:
    """What to roll back is a name, and where to a version; anything else is refused."""
    with pytest.raises(DefinitionError, match=message):
        two.rollback(name, to=to)


def test_retired_versions_are_not_served(two: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """A retired version is neither served nor filled unless named; users get a warning; old training sets read it."""
    spine = {"user_id": [7], "event_timestamp": [datetime.now(UTC)]}
    made = two.get_historical_features(spine, "stats:v1.0.0")
    two.lineage.record_model("churn", version=4, training_set=made)
    two.alias("stats:v1.0.0", "production")
    two.apply(FeatureService("pinned", ["stats.score:v1.0.0"]))
    caplog.set_level(logging.INFO)
    done = two.retire("stats:v1.0.0")
    assert done.used_by == ("model churn/4", "service pinned:v1.0.0", "alias stats@production")
    warning = "view stats:v1.0.0 is retired; still used by model churn/4, service pinned:v1.0.0, alias stats@production"
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [warning]
    for asked in ("stats:v1.0.0", "stats@production", "pinned"):
        with pytest.raises(NotOnlineError, match=r"'stats:v1\.0\.0' is retired and not served"):
            two.get_online_features(asked, {"user_id": [7]})
    assert score(two, "model_in") == 2
    assert [m.view for m in two.materialize()] == ["stats:v2.0.0"]
    assert [m.view for m in two.materialize("stats:v1.0.0")] == ["stats:v1.0.0"]
    assert two.recreate(made.spec, spine).fingerprint == made.fingerprint
    assert not two.retire("stats:v1.0.0", undo=True).retired
    assert score(two, "pinned") == 1


def test_a_version_with_the_same_rows_as_a_retired_one_is_filled(two: FeatureStore) -> None:
    """Versions that differ in words share rows: retiring one leaves those of the other served and kept up to date."""
    two.apply(dataclasses.replace(second, version="2.0.1", owner="growth"))
    two.retire("stats:v2.0.0")
    assert sorted(m.view for m in two.materialize()) == ["stats:v1.0.0", "stats:v2.0.1"]
    assert score(two, "model_in") == 2


def test_a_retired_service_is_not_served(two: FeatureStore) -> None:
    """A service is retired like a view, without touching the views it takes from."""
    two.apply(dataclasses.replace(service, version="2.0.0", owner="growth"))
    assert two.retire("model_in:v1.0.0").used_by == ()
    with pytest.raises(NotOnlineError, match=r"'model_in:v1\.0\.0' is retired"):
        two.get_online_features("model_in:v1.0.0", {"user_id": [7]})
    assert score(two, "model_in") == 2


def test_what_differs_between_versions(two: FeatureStore) -> None:
    """Two versions, registered or not, are compared line by line, with the bump that the difference calls for."""
    found = two.diff("stats:v1.0.0", "stats")
    assert (found.lines, found.bump, found.suggested) == (("ttl: absent -> '30d'",), "major", "2.0.0")
    assert str(found).splitlines() == [
        "stats:v1.0.0 -> stats:v2.0.0",
        "  ttl: absent -> '30d'",
        "a major change: 2.0.0",
    ]
    added = dataclasses.replace(second, fields=[*second.fields, Field("more", "int64", "More.")])
    assert (two.diff("stats", added).bump, two.diff("stats", added).suggested) == ("minor", "2.1.0")
    assert two.diff("stats", dataclasses.replace(second, owner="me")).bump == "patch"
    assert (two.diff("stats", "stats:v2.0.0").bump, str(two.diff("stats", "stats"))) == (
        None,
        "stats:v2.0.0 and stats:v2.0.0 say the same",
    )
    assert two.diff("user", dataclasses.replace(user, keys={"user_id": "string"})).bump == "major"


def test_things_that_cannot_be_compared(two: FeatureStore) -> None:
    """Versions of different things, a feature, or what is unknown, are refused."""
    with pytest.raises(DefinitionError, match="are no versions of one thing"):
        two.diff("stats", "model_in")
    with pytest.raises(DefinitionError, match="is a feature"):
        two.diff("stats.score", "stats")
    with pytest.raises(UnknownReferenceError, match="nothing is called 'nonsense'"):
        two.diff("stats", "nonsense")
