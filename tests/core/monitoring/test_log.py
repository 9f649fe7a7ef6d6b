"""The request log: what is kept of a read, of whom, and what it may cost the reader: nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field, Request, on_demand
from fs_core.errors import ConfigurationError, DataError, UnknownReferenceError
from fs_core.monitoring.log import tables
from fs_core.monitoring.log.outcomes import outcome_of, outcome_table
from fs_core.monitoring.log.tables import LogTable
from fs_core.serving.encoded import EncodedReader
from tests.core.monitoring.conftest import NOW, USER, SetClock, view


def test_a_logged_read_keeps_what_was_served_and_from_which_rows(served: FeatureStore) -> None:
    """Keys, features, statuses, the winner's clocks and seq, the moment, and the view with its digest."""
    found = served.get_online_features("spending", {"user_id": [2, 9]}, log="model")
    assert found.request_id is not None
    two, nine = served.read_log("model").to_pylist()
    assert (two["__request_id"], two["__row"], nine["__row"]) == (found.request_id, 0, 1)
    assert two["__at"] == found.at
    assert (two["user_id"], two["amount"], two["visits"], two["shop"]) == (2, 3.0, 2**53 + 2, "shop 2")
    assert (nine["user_id"], nine["amount"], nine["visits"], nine["shop"]) == (9, None, None, None)
    assert two["spending.__view"] == "spending:v1.0.0"
    assert two["spending.__digest"] == view().digest
    assert (two["spending.__status"], nine["spending.__status"]) == ("present", "missing")
    assert two["spending.__event_time"] == two["spending.__available_at"] == NOW - timedelta(days=1)
    assert (two["spending.__seq"], nine["spending.__seq"]) == (1, None)


def test_expired_rows_are_logged_with_the_clocks_of_what_expired(served: FeatureStore, clock: SetClock) -> None:
    """Null features, but which row it was that had won."""
    clock.moment = NOW + timedelta(days=30)
    served.get_online_features("spending", {"user_id": [1, 1, None]}, log="model")
    logged = served.read_log("model").to_pylist()
    assert [row["spending.__status"] for row in logged] == ["expired", "expired", "missing"]
    assert [row["spending.__seq"] for row in logged] == [0, 0, None]
    assert [row["amount"] for row in logged] == [None] * 3


@on_demand(
    inputs=["spending.amount", Request("price", "float64", "EUR.")], fields=[Field("ratio", "float64", "Share.")]
)
def share(amount: Any, price: Any) -> Any:
    """Return the price over what was spent."""
    return price / amount


def test_request_columns_and_computed_features_are_logged(served: FeatureStore) -> None:
    """What the request alone knew, and what came of it."""
    served.apply(share)
    served.get_online_features(["share.ratio"], {"user_id": [1, 3], "price": [4.0, 8.0]}, log="model")
    logged = served.read_log("model").to_pylist()
    assert [(row["user_id"], row["price"], row["ratio"]) for row in logged] == [(1, 4.0, 2.0), (3, 8.0, 2.0)]


def test_what_the_caller_changes_after_a_read_is_logged_as_it_was_served(served: FeatureStore) -> None:
    """A function may give a request column on as it is, which may lie in the caller's memory."""

    @on_demand(inputs=[Request("price", "float64", "EUR.")], fields=[Field("same", "float64", "The price.")])
    def given(price: Any) -> Any:
        """Return the price."""
        return price

    served.apply(given)
    price = np.array([4.0, 8.0])
    served.get_online_features(
        ["given.same", "spending.amount"], {"user_id": np.array([1, 2]), "price": price}, log="model"
    )
    price[:] = -1.0
    logged = served.read_log("model").to_pylist()
    assert [(row["price"], row["same"]) for row in logged] == [(4.0, 4.0), (8.0, 8.0)]


def test_of_reads_that_ask_for_no_entity_a_share_is_logged(served: FeatureStore) -> None:
    """Functions of the request alone: each read whole or not at all."""

    @on_demand(inputs=[Request("price", "float64", "EUR.")], fields=[Field("double", "float64", "Twice the price.")])
    def twice(price: Any) -> Any:
        """Return the price twice."""
        return price * 2

    served.apply(twice)
    served.get_online_features(["twice.double"], {"price": [1.0, 2.0]}, log="model")
    few = [
        served.get_online_features(["twice.double"], {"price": [1.0] * 2}, log="few", log_rate=0.2) for _ in range(200)
    ]
    assert 20 < sum(found.request_id is not None for found in few) < 60
    assert len(served.read_log("few")) == 2 * sum(found.request_id is not None for found in few)
    assert [(row["price"], row["double"]) for row in served.read_log("model").to_pylist()] == [(1.0, 2.0), (2.0, 4.0)]


def test_known_keys_are_logged_beside_null_ones(served: FeatureStore) -> None:
    """So that whoever is forgotten is found there, though a view that wants both keys has nothing to say."""
    shop = Entity("branch", keys={"branch_id": "string"}, description="A shop.")
    about: dict[str, Any] = {"description": "Of shops.", "version": "1.0.0", "online": True}
    named = FeatureView("named", entity=shop, fields=[Field("name", "string", "Its name.")], **about)
    pair = FeatureView("pair", entity=[USER, shop], fields=[Field("z", "int64", "Of both.")], **about)
    served.apply(shop, named, pair)
    moment = [NOW - timedelta(days=1)]
    served.write("named", {"branch_id": ["s1"], "event_timestamp": moment, "name": ["Ann's"]})
    served.write("pair", {"user_id": [1], "branch_id": ["s1"], "event_timestamp": moment, "z": [7]})
    served.materialize()
    asked = {"user_id": [1, None, 2, None], "branch_id": ["s1", "s1", None, None]}
    for _ in range(2):
        found = served.get_online_features(["pair.z", "named.name"], asked, log="both")
    served.get_online_features(["pair.z"], asked, log="one")
    both, one = served.read_log("both"), served.read_log("one")
    for name, keys in asked.items():
        assert both[name].to_pylist() == 2 * keys
        assert one[name].to_pylist() == keys
    assert both["name"].to_pylist() == 2 * found.table["name"].to_pylist()
    assert served.replay("both").counts["equal"] == len(both)
    served.forget("branch", {"branch_id": ["s1"]})
    assert served.read_log("both")["branch_id"].to_pylist() == [None] * 4
    assert served.read_log("one")["user_id"].to_pylist() == [2, None]


def test_async_reads_and_those_from_history_are_logged(served: FeatureStore) -> None:
    """Without blocking, and where history answers: then without the winner's seq."""

    async def read() -> None:
        await served.get_online_features_async("spending", {"user_id": [1]}, log="model")
        past = NOW - timedelta(hours=30)
        await served.get_online_features_async("spending", {"user_id": [1]}, at=past, fallback="offline", log="model")

    asyncio.run(read())
    logged = served.read_log("model").to_pylist()
    assert sorted((row["spending.__status"], row["spending.__seq"]) for row in logged) == [
        ("missing", None),
        ("present", 0),
    ]


def test_all_moments_of_an_entity_are_logged_or_none(served: FeatureStore) -> None:
    """The sample goes by entity, is the same in each log, grows with the rate, and has about the share asked for."""
    users = list(range(2000))
    whole = {"user_id": users}
    for log, rate in (("some", 0.1), ("more", 0.3), ("none", 0.0)):
        served.get_online_features("spending", whole, log=log, log_rate=rate)
    for user in users[:300]:
        served.get_online_features("spending", {"user_id": [user]}, log="single", log_rate=0.1)
    some, more, single = (served.read_log(log)["user_id"].to_pylist() for log in ("some", "more", "single"))
    assert [user for user in some if user < 300] == single
    assert set(some) < set(more)
    assert 150 < len(some) < 250
    assert 520 < len(more) < 680
    with pytest.raises(UnknownReferenceError, match="no request log 'none'"):
        served.read_log("none")


def test_entities_asked_for_twice_are_logged_twice_and_null_keys_are_in_no_sample(served: FeatureStore) -> None:
    """Rows of one read, some of one entity, and one of nobody."""
    users = [*range(60), None, *range(60)]
    served.get_online_features("spending", {"user_id": users}, log="twice", log_rate=0.3)
    found = served.read_log("twice")
    logged = found["user_id"].to_pylist()
    assert 5 < len(logged) // 2 < 30
    assert logged[: len(logged) // 2] == logged[len(logged) // 2 :]
    assert [users[row] for row in found["__row"].to_pylist()] == logged
    assert None not in logged


def test_what_is_not_in_the_sample_has_no_request_id(served: FeatureStore) -> None:
    """So that an outcome of it can be passed on without asking: nothing happens."""
    found = served.get_online_features("spending", {"user_id": [1]}, log="model", log_rate=0.0)
    assert found.request_id is None
    served.log_outcome(found.request_id, 1.0)
    assert served.flush_log().written == 0


def test_adapters_log_what_they_read(served: FeatureStore) -> None:
    """What `OnlineFeatures` of every framework reads by takes the same options."""
    spine = {"user_id": [1, 2], "event_timestamp": [NOW] * 2}
    training = served.get_historical_features(spine, ["spending.amount"])
    reader = EncodedReader(served, training, Encoding.fit(training), log="model", log_rate=1.0)
    reader.read({"user_id": [1]})
    asyncio.run(reader.read_async({"user_id": [2]}))
    assert served.read_log("model")["user_id"].to_pylist() == [1, 2]


def test_the_environment_says_where_reads_are_logged(
    tmp_path: Path, served: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`FS_LOG` for reads that name no log; False for a read that isn't to be logged."""
    monkeypatch.setenv("FS_LOG", "everything")
    monkeypatch.setenv("FS_LOG_RATE", "1.0")
    with FeatureStore(tmp_path / "store", clock=SetClock()) as store:
        assert store.get_online_features("spending", {"user_id": [1]}, log=False).request_id is None
        assert str(store.get_online_features("spending", {"user_id": [1]}).request_id).startswith("everything-")
        assert store.read_log("everything").num_rows == 1


@pytest.mark.parametrize(
    ("log", "rate"),
    [("../up", 1.0), ("model", 2.0), (["model"], 1.0), ("model", [1.0]), ("model", float("nan")), ("a-b", 1.0)],
)
def test_a_log_that_cannot_be_is_refused(served: FeatureStore, log: Any, rate: Any) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError):
        served.get_online_features("spending", {"user_id": [1]}, log=log, log_rate=rate)


def test_a_log_that_the_environment_cannot_name_is_refused_at_once(
    tmp_path: Path, served: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the store is opened, not by every read."""
    for name, value in (("FS_LOG", "no name"), ("FS_LOG_RATE", "10%"), ("FS_LOG_KEEP", "ever")):
        with monkeypatch.context() as patched:
            patched.setenv("FS_LOG", "model")
            patched.setenv(name, value)
            with pytest.raises(ConfigurationError, match=value):
                FeatureStore(tmp_path / "store")


def test_outcomes_are_joined_to_the_rows_they_belong_to(served: FeatureStore) -> None:
    """A prediction at once, the truth later; of what was said twice the last counts."""
    found = served.get_online_features("spending", {"user_id": [1, 2]}, log="model")
    served.log_outcome(found.request_id, prediction=np.array([0.5, 0.25]), model="churn", model_version="3")
    served.log_outcome(found.request_id, [True, None])
    served.log_outcome(found.request_id, [None, "late"])
    served.log_outcome(found.request_id, [False, None])
    one, two = served.read_log("model").to_pylist()
    assert (json.loads(one["__prediction"]), json.loads(two["__prediction"])) == (0.5, 0.25)
    assert (json.loads(one["__label"]), json.loads(two["__label"])) == (False, "late")
    assert (one["__model"], two["__model_version"]) == ("churn", "3")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"label": 1}, "one value is given as labels, but .* had 3 rows"),
        ({"label": [1, 2]}, "2 values are given as labels"),
        ({"label": [1, 0, 1], "prediction": np.zeros(4)}, "4 values are given as predictions"),
    ],
)
def test_outcomes_that_are_not_one_for_each_row_are_refused(
    served: FeatureStore, said: Mapping[str, Any], message: str
) -> None:
    """How many rows the read had is known weeks later too, of a sampled one as well."""
    found = served.get_online_features("spending", {"user_id": [1, 2, 3]}, log="model", log_rate=0.99)
    with pytest.raises(DataError, match=message):
        served.log_outcome(found.request_id, **said)
    served.log_outcome(found.request_id, [[1, 2], [], None], prediction=np.zeros((3, 2)))
    assert json.loads(served.read_log("model")["__label"][0].as_py()) == [1, 2]


def test_an_outcome_for_a_log_that_is_not_there_is_refused(served: FeatureStore, tmp_path: Path) -> None:
    """An error names the log, and nothing is made; another process's log is found."""
    found = served.get_online_features("spending", {"user_id": [1]}, log="model")
    with pytest.raises(UnknownReferenceError, match="no request log 'other'"):
        served.log_outcome(found.request_id.replace("model", "other"), 1)
    served.flush_log()
    assert [path.name for path in (tmp_path / "store" / "logs").iterdir()] == ["model"]
    with FeatureStore(tmp_path / "store", clock=SetClock()) as another:
        another.log_outcome(found.request_id, 1)
        assert another.read_log("model")["__label"].to_pylist() == ["1"]


@pytest.mark.parametrize(
    "said", [{"label": None}, {"label": object()}, {"label": [1, 2], "prediction": [1]}, {"label": b"bytes"}]
)
def test_an_outcome_that_cannot_be_kept_is_refused(served: FeatureStore, said: Mapping[str, Any]) -> None:
    """With an error that says why."""
    found = served.get_online_features("spending", {"user_id": [1]}, log="model")
    with pytest.raises(DataError):
        served.log_outcome(found.request_id, **said)
    with pytest.raises(DataError, match="no request id"):
        served.log_outcome("nothing", 1)


def test_keys_that_the_caller_changes_afterwards_are_logged_as_they_were(served: FeatureStore) -> None:
    """A caller may use an array again."""
    users = np.array([1, 2])
    served.get_online_features("spending", {"user_id": users}, log="model")
    users[:] = 5
    assert served.read_log("model")["user_id"].to_pylist() == [1, 2]


def test_reads_that_are_written_at_once_are_logged_as_each_was_served(served: FeatureStore) -> None:
    """Of many reads with keys of several parts, null and repeated ones, each has its own rows in its own order."""
    pair = Entity("pair", keys={"shop": "string", "number": "int64"})
    fields = [Field("price", "float64", "EUR."), Field("note", "string", "Text.")]
    served.apply(FeatureView("offers", entity=pair, version="1.0.0", description="d", fields=fields, online=True))
    keys = [(shop, number) for shop in ("", "a", "ähnlich") for number in (-1, 0, 2**40)]
    columns = {"shop": [shop for shop, _ in keys], "number": [number for _, number in keys]}
    given = {
        "event_timestamp": [NOW - timedelta(days=1)] * 9,
        "price": [*range(8), None],
        "note": [*"abcdefgh", None],
    }
    served.write("offers", {**columns, **given})
    served.materialize("offers")
    asked = [[keys[n % 9] for n in range(start, start + size)] for start in range(4) for size in (1, 3, 20)]
    asked += [[(None, None), keys[0], ("none", 5)], [(None, None)]]
    reads = []
    for rows in asked:
        shops, numbers = zip(*rows, strict=True)
        entities = {"shop": pa.array(shops, pa.string()), "number": pa.array(numbers, pa.int64())}
        reads.append(served.get_online_features("offers", entities, log="model"))
    logged = served.read_log("model")
    for found in reads:
        own = logged.filter(pc.equal(logged["__request_id"], found.request_id)).sort_by("__row")
        assert own.select(found.to_arrow().column_names).equals(found.to_arrow())
        assert own["offers.__status"].to_pylist() == found.status["offers"]
    assert served.replay("model").counts["equal"] == len(logged) == sum(map(len, asked))


def test_every_type_survives_the_log(served: FeatureStore) -> None:
    """Whole numbers, decimals, lists, embeddings and bytes come back as they were served."""
    types = {
        "a": "uint64",
        "b": "decimal(10, 2)",
        "c": "list<int64>",
        "d": "list<float32>[2]",
        "e": "binary",
        "f": "date",
    }
    types |= {"g": "bool", "h": "timestamp", "i": "float16"}
    fields = [Field(name, dtype, "One.") for name, dtype in types.items()]
    wide = FeatureView("wide", entity=USER, version="1.0.0", description="d", fields=fields, online=True)
    served.apply(wide)
    values = pa.table(
        {
            "user_id": pa.array([1, 2]),
            "event_timestamp": pa.array([NOW - timedelta(days=1)] * 2),
            "a": pa.array([2**64 - 1, None], pa.uint64()),
            "b": pa.array(["1.25", None]).cast(pa.decimal128(10, 2)),
            "c": pa.array([[1, None, 2**53 + 1], None]),
            "d": pa.array([[1.5, 2.5], None], pa.list_(pa.float32(), 2)),
            "e": pa.array([b"\0\1", None]),
            "f": pa.array([NOW.date(), None]),
            "g": pa.array([True, None]),
            "h": pa.array([NOW, None]),
            "i": pa.array([np.float16(0.1), None]),
        }
    )
    served.write("wide", values)
    served.materialize("wide")
    found = served.get_online_features("wide", {"user_id": [2, 1, 2]}, log="model")
    logged = served.read_log("model")
    assert logged.select(found.features).equals(found.table)
    assert served.replay("model").counts["equal"] == 3


def test_old_days_are_deleted(
    tmp_path: Path, served: FeatureStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ninety days, or what `FS_LOG_KEEP` says; their files too."""
    monkeypatch.setattr(tables, "_swept", {})
    served.get_online_features("spending", {"user_id": [1]}, log="model")
    served.flush_log()
    monkeypatch.setenv("FS_LOG_KEEP", "3d")
    clock.moment = NOW + timedelta(days=4)
    with FeatureStore(tmp_path / "store", clock=clock) as store:
        store.get_online_features("spending", {"user_id": [2]}, log="model")
        assert store.read_log("model")["user_id"].to_pylist() == [2]
    kept = [path for path in (tmp_path / "store" / "logs").rglob("*.parquet") if "_delta_log" not in str(path)]
    assert len(kept) == 1


def test_forgetting_covers_the_log(tmp_path: Path, served: FeatureStore) -> None:
    """Rows, outcomes, and files of earlier states; others stay, and nothing in the log's directory holds the name."""
    found = served.get_online_features("spending", {"user_id": [1, 2]}, log="model")
    served.log_outcome(found.request_id, ["secret of one", "of two"])
    served.flush_log()
    served.get_online_features("spending", {"user_id": [1]}, log="model")  # waits to be written
    erased = served.forget("user", {"user_id": [1]})
    assert erased.logs == {"model": 2}
    left = served.read_log("model").to_pylist()
    assert [(row["user_id"], row["__label"]) for row in left] == [(2, '"of two"')]
    for path in (tmp_path / "store" / "logs").rglob("*"):
        assert not path.is_file() or b"secret of one" not in path.read_bytes()
    assert served.forget("user", {"user_id": [1]}).logs == {}


def test_forgetting_covers_files_that_no_state_of_a_log_names(tmp_path: Path, served: FeatureStore) -> None:
    """Those of a writer that lost the race to make a table, or died before its commit: it may have written no other."""
    served.get_online_features("spending", {"user_id": [2]}, log="model")
    served.flush_log()
    (kept,) = (p for p in (tmp_path / "store" / "logs").rglob("*.parquet") if "_delta_log" not in p.parts)
    outcomes = tmp_path / "store" / "logs" / "model" / "outcomes" / kept.parent.name
    outcomes.mkdir(parents=True)
    left = [kept.with_name("part-lost.parquet"), kept.with_name("part-begun.parquet#1"), outcomes / "part-0.parquet"]
    for path in left:
        path.write_bytes(b"rows of somebody")
    assert served.forget("user", {"user_id": [1]}).logs == {}
    assert [path for path in left if path.exists()] == []
    assert served.read_log("model")["user_id"].to_pylist() == [2]


def test_appends_that_meet_leave_no_file_behind(tmp_path: Path) -> None:
    """Threads whose first rows of a log meet: once rows are deleted, the newest state's files are the only ones."""
    table = LogTable("m", None, tmp_path / "outcomes")
    given = [outcome_of(f"m-{i}", 1_700_000_000_000_000, ["secret"], None, None, None) for i in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda one: table.append(outcome_table([one])), given))
        found = table.read()
        assert len(found) == 6
        appending = threads.submit(table.append, outcome_table(given))
        table.delete(found.select(["__request_id", "__row"]).slice(0, 3))
        appending.result()
    assert len(table.read()) >= 6
    table.delete(found.select(["__request_id", "__row"]))
    assert [path for path in tmp_path.rglob("*.parquet") if pq.ParquetFile(path).read().num_rows] == []


def test_no_secret_is_logged(tmp_path: Path, redis_url: str) -> None:
    """Neither the URL nor the password of a store is anywhere in its log."""
    url = redis_url.replace("redis://", "redis://default:hunter2secret@")
    with FeatureStore(tmp_path / "store", online=url, clock=SetClock()) as store:
        store.apply(view())
        store.get_online_features("spending", {"user_id": [1]}, log="model", on_deadline="missing")
        store.read_log("model")
    for path in (tmp_path / "store" / "logs").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_the_files_of_a_log_are_for_their_user_alone(tmp_path: Path, served: FeatureStore) -> None:
    """As history is."""
    served.get_online_features("spending", {"user_id": [1]}, log="model")
    served.flush_log()
    assert (tmp_path / "store" / "logs").stat().st_mode & 0o077 == 0
