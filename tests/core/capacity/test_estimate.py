"""Estimates beside what real stores take: servers say by their memory, files by their size."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from click.testing import CliRunner

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.capacity.sizes import AROUND_KEY
from fs_core.cli.group import cli
from fs_core.errors import DataError, DefinitionError
from fs_core.online.redis.names import Names
from fs_core.testing.histories import KEYS
from tests.servers import running_server

ENTITIES = 4_000
_PLAIN = str.maketrans("[], /()", "_______")
NOW = datetime.now(UTC) - timedelta(hours=1)
user = Entity("user", keys={"user_id": "string"}, description="A user.")


def view_of(name: str, texts: int, ttl: str | None) -> FeatureView:
    """Return a view of numbers and so many texts."""
    fields = [Field(f"n{i}", "float64", "A number.") for i in range(3)]
    fields += [Field(f"t{i}", "string", "A text.") for i in range(texts)]
    return FeatureView(name, user, fields, ttl=ttl, description="Of some size.")


VIEWS = {
    "small": view_of("small", 0, None),
    "expiring": view_of("expiring", 1, "30d"),
    "wide": view_of("wide", 40, None),
}
_SUMS = [Aggregation("sum", "n0", windows=["1d"])]
SEVERAL = {
    "sums": FeatureView("sums", user, VIEWS["small"].fields[:1], aggregations=_SUMS, description="Windows."),
    "recent": FeatureView("recent", user, VIEWS["small"].fields, online_history="1d", description="Recent."),
}
"""Views that keep more than a row of an entity."""


def fill(store: FeatureStore, view: FeatureView, entities: int = ENTITIES, times: int = 1) -> None:
    """Write rows of each entity, in the order of nobody's keys, with texts of all lengths."""
    store.apply(user, view)
    drawn = random.Random(7)
    users = [f"{drawn.randrange(10**12):012d}" for _ in range(entities)]
    entities *= times
    rows = {"user_id": users * times, "event_timestamp": [NOW - timedelta(seconds=n) for n in range(entities)]}
    for field in view.fields:
        lengths = [drawn.randrange(60) for _ in range(entities)]
        rows[field.name] = ["x" * n for n in lengths] if field.name[0] == "t" else [float(n) for n in lengths]
    store.write(view, pa.table(rows))


def near(estimate: float, real: float, more: int = 0) -> bool:
    """Tell whether an estimate is as near as the page promises, a tenth and some bytes; says both where it isn't."""
    assert abs(estimate - real) <= real / 10 + more, (estimate, real)
    return True


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store with the views' rows."""
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    for view in VIEWS.values():
        fill(store, view)
    for view in SEVERAL.values():
        fill(store, view, 1_000, 5)
    fill(store, view_of("first", 1, None), 1)
    return store


def test_servers_take_what_was_estimated(filled: FeatureStore) -> None:
    """What Redis 6.2 and Valkey 9.1 say that they use grows by the estimate, as near as the page promises."""
    for server in ("Redis 6.2", "Valkey 9.1"):
        for name in VIEWS:
            with running_server(server) as url, redis.Redis.from_url(url) as client:
                memory = []
                for each in ("first", name):  # with the first row comes what a server takes once, such as scripts
                    with FeatureStore(filled.directory, online=url) as store:
                        store.materialize(each)
                    _wait_until_alone(client)
                    memory.append(client.info("memory")["used_memory"])
                used = (memory[1] - memory[0]) / ENTITIES
                kind, table = ("redis", 0) if server.startswith("Redis") else ("valkey", 17)
                assert near(getattr(filled.estimate(name), kind), used, table), (server, name)


def _wait_until_alone(client: redis.Redis) -> None:
    """Wait until a server has let go of other clients, whose buffers are memory, too."""
    deadline = time.monotonic() + 20
    while client.info("clients")["connected_clients"] > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_file_takes_what_was_estimated(filled: FeatureStore, tmp_path: Path) -> None:
    """SQLite's file takes no more, and three quarters at least: it is filled at once, which leaves fuller pages."""
    for name in VIEWS:
        file = tmp_path / f"{name}.db"
        with FeatureStore(filled.directory, online=f"sqlite:///{file}") as store:
            store.materialize(name)
        assert 0.75 < file.stat().st_size / ENTITIES / filled.estimate(name).sqlite <= 1, name


def test_the_index_takes_what_was_estimated(filled: FeatureStore) -> None:
    """The directory of a view's search index has the bytes that were estimated, a tenth more or less."""
    for name in VIEWS:
        filled.get_historical_features({"user_id": ["1"], "event_timestamp": [NOW]}, name)
        filled.compact(name)
        filled.get_historical_features({"user_id": ["1"], "event_timestamp": [NOW]}, name)
        folder = next(Path(filled.directory).glob(f"index/*{VIEWS[name].storage_name}*"))
        real = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        assert near(filled.estimate(name).index, real), name


def test_the_schema_says_the_least(store: FeatureStore) -> None:
    """Without rows, texts count as empty and keys as short; the number of entities is the caller's."""
    store.apply(user, VIEWS["wide"])
    least = store.estimate("wide", entities=10**6)
    assert (least.sampled, least.entities, least.rows, least.index) == (0, 10**6, 0, 0)
    assert "at least" in str(least)
    fill(store, VIEWS["wide"])
    real = store.estimate("wide")
    assert (real.sampled, real.entities) == (ENTITIES, ENTITIES)
    assert least.row < real.row
    assert "at least" not in str(real)


def test_keys_of_every_type_have_a_size(store: FeatureStore) -> None:
    """A view that nothing was written to may have any keys."""
    types = {key.translate(_PLAIN): key for key in KEYS}
    every = Entity("every", keys=types, description="Keys of all types.")
    store.apply(every, FeatureView("plain", every, [Field("x", "float64", "A number.")], description="Plain."))
    assert store.estimate("plain", entities=1).row > 8


def test_events_and_timelines_are_measured(filled: FeatureStore, tmp_path: Path) -> None:
    """Of windows and `online_history` all that an entity has is brought into a store and measured there."""
    for name in SEVERAL:
        found = filled.estimate(name)
        assert (found.entities, found.sampled, found.rows) == (1_000, 1_000, 5_000)
        assert 20 < found.history_row < 60
        assert found.row > (40 if name == "sums" else 5 * 51)  # of five events, and of five rows of the small view
        file = tmp_path / f"{name}.db"
        with FeatureStore(filled.directory, online=f"sqlite:///{file}") as store:
            store.materialize(name)
        assert 0.7 < file.stat().st_size / 1_000 / found.sqlite <= 1.1, name


def test_an_old_sample_counts_as_of_its_time(store: FeatureStore) -> None:
    """What was written of last year is measured as if it were then, not as what is left of it by now."""
    store.apply(user, *SEVERAL.values())
    for days in (0, 400):
        for name, view in SEVERAL.items():
            moments = [NOW - timedelta(days=days, seconds=n) for n in range(8)]
            values = {field.name: [1.5] * 8 for field in view.fields}
            store.write(name, {"user_id": [f"u{days}"] * 8, "event_timestamp": moments, **values})
    for name in SEVERAL:
        both = store.estimate(name)
        store.forget("user", {"user_id": ["u0"]})
        assert store.estimate(name).row >= both.row * 0.9, name
        assert store.estimate(name).write_reads > 0
    assert store.estimate("recent").write_units == 4  # two items in one transaction


def test_a_view_without_an_entity_has_one_row(store: FeatureStore) -> None:
    """However many entities there are elsewhere."""
    store.apply(FeatureView("all", None, [Field("x", "float64", "A number.")], description="Of everybody."))
    assert store.estimate("all", entities=10**7).entities == 1
    store.write("all", {"event_timestamp": [NOW], "x": [1.0]})
    assert store.estimate("all", entities=10**7).entities == 1


def test_what_depends_on_events_is_refused_without_any(store: FeatureStore) -> None:
    """Windows and online history: a number would be a guess. And nothing is said of no entities."""
    store.apply(user, *SEVERAL.values(), VIEWS["small"])
    for name, reason in (("sums", "windows"), ("recent", "online_history")):
        with pytest.raises(DefinitionError, match=f"{name!r} has {reason}.* Write what comes"):
            store.estimate(name)
    with pytest.raises(DataError, match="entities is 0"):
        store.estimate("small", entities=0)
    with pytest.raises(DataError, match=r"'small' has no rows: say for how many entities"):
        store.estimate("small")


def test_names_are_as_long_as_they_are_on_servers() -> None:
    """The estimate knows it without the driver."""
    assert [len(name) for name in Names("shop").rows([b"1234"], "view")] == [4 + AROUND_KEY]


def test_the_command_prints_it(filled: FeatureStore) -> None:
    """One line for each view, with totals for the number of entities asked for."""
    done = CliRunner().invoke(
        cli, ["estimate", "small", "wide", "--entities", "1000000", "--store", str(filled.directory)]
    )
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [str(filled.estimate(name, entities=10**6)) for name in ("small", "wide")]
    assert done.output.startswith("small: 1,000,000 entities: sqlite ")
