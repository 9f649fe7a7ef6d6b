"""Events as bytes: any order of arrival, repeated, trimmed, and damaged."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, Entity, FeatureView, Field
from fs_core.offline.predicates import passing
from fs_core.online.row.entries import has_head, whole
from fs_core.testing.events import EventScenario, event_scenarios
from fs_core.testing.histories import moments, spines
from fs_core.testing.oracle import bits
from fs_core.testing.window_oracle import TOO_LARGE, oracle_windows
from fs_core.windows.answer import TooLargeError
from fs_core.windows.packed import head
from fs_core.windows.packed.codec import EventCodec

Values = dict[bytes, bytes]


def append(values: Values, codec: EventCodec, scenario: EventScenario, rows: pa.Table) -> None:
    """Do what a push does: append each row to the value of its entity."""
    for write in codec.encode(rows, passing(scenario.view, rows)):
        values[write.key] = values.get(write.key, b"") + write.row


def compare(
    codec: EventCodec, scenario: EventScenario, values: Values, deep: Values, arrived: Sequence[int], spine: pa.Table
) -> None:
    """Assert that values fold to what the oracle says of the events that have arrived, with or without deep ones."""
    view = scenario.view
    history = scenario.history.sort_by("__seq").take(pa.array(sorted(set(arrived)), pa.int64()))
    expected = oracle_windows(view, history.to_pylist(), spine.to_pylist(), scenario.conditions)
    keys = [key or b"" for key in codec._codec.keys(spine)]
    times, asked = spine["__time"].cast(pa.int64()).to_numpy(), [values.get(key) for key in keys]
    heads = codec.decode(keys, asked).heads
    silent = {index for index, found in heads.items() if not found.answers(times[index])}
    asked = [
        whole(value, deep[key]) if i in silent else value
        for i, (key, value) in enumerate(zip(keys, asked, strict=True))
    ]
    held = codec.decode(keys, asked)
    assert not held.corrupt
    if any(TOO_LARGE in row.values() for row in expected):
        with pytest.raises(TooLargeError):
            codec.fold(held, list(view.features), times)
        return
    found = codec.fold(held, list(view.features), times)
    assert found.known.tolist() == [row["__status"] == "present" for row in expected]
    for have, want in zip(found.features.to_pylist(), expected, strict=True):
        assert bits(have) == bits({name: want[name] for name in have})


@settings(max_examples=120)
@given(st.data())
def test_values_fold_to_what_the_oracle_says(data: st.DataObject) -> None:
    """Events that arrive in any order, several times, before and after values are trimmed, and heads are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "MOST_ENDS", data.draw(st.integers(0, 9)))
        fold_and_compare(data)


def fold_and_compare(data: st.DataObject) -> None:
    """Let events arrive, rewrite values now and then, and compare what they fold to."""
    scenario = data.draw(event_scenarios())
    codec = pickle.loads(pickle.dumps(EventCodec(scenario.view)))
    spine = data.draw(spines(scenario, max_rows=12))
    spine = pa.Table.from_pylist([row for row in spine.to_pylist() if None not in row.values()], spine.schema)
    rows = scenario.history.sort_by("__seq")
    order = data.draw(st.permutations(range(len(rows))))
    values: Values = {}
    deep: Values = {}
    arrived: list[int] = []
    trimmed = scenario.scale.micros(0)
    while len(arrived) < len(order) or not arrived:
        batch = list(order[len(arrived) : len(arrived) + data.draw(st.integers(1, 12))])
        again = data.draw(st.lists(st.sampled_from(arrived), max_size=2)) if arrived else []
        append(values, codec, scenario, rows.take(pa.array(batch + again, pa.int64())))
        arrived += batch
        if data.draw(st.booleans()):
            trimmed = max(trimmed, data.draw(st.integers(0, 12).map(scenario.scale.micros)))
            keys = list(values)
            known = [whole(values[key], deep.get(key)) for key in keys]
            values = dict(zip(keys, codec.trimmed(keys, known, trimmed), strict=True))  # type: ignore[arg-type]
            chosen = [key for key in keys if key in deep or data.draw(st.booleans())]
            deep |= {key: values[key] for key in chosen}
            values |= zip(chosen, codec.headed(chosen, [values[key] for key in chosen], trimmed), strict=True)
            assert all(has_head(values[key]) for key in chosen)
        times = spine["__time"].cast(pa.int64()).to_numpy()
        later = spine.set_column(spine.num_columns - 1, "__time", moments(np.maximum(times, trimmed).tolist()))
        compare(codec, scenario, values, deep, arrived, later)
        if not len(order):
            break


VIEW = FeatureView(
    "v",
    Entity("e", keys={"k": "int64"}),
    [Field("x", "float64", "A value."), Field("shop", "string", "Where.")],
    aggregations=[Aggregation("sum", "x", windows=["10us"]), Aggregation("last", "shop", windows=["1ms"])],
)


def events(times: Sequence[int], *, k: int = 1, first: int = 0) -> pa.Table:
    """Events of one entity."""
    clock = moments(list(times))
    numbers = list(range(first, first + len(times)))
    columns = {"k": [k] * len(times), "__event_time": clock, "__available_at": clock, "__seq": numbers}
    return pa.table(columns | {"x": [float(n) for n in numbers], "shop": [f"shop {n}" for n in numbers]})


def test_trimming_bounds_a_value() -> None:
    """Of a thousand events, those of the longest window stay, and the latest."""
    codec = EventCodec(VIEW)
    writes = codec.encode(events(range(0, 5000, 5)), {})
    value = b"".join(write.row for write in writes)
    key = writes[0].key
    (kept,) = codec.trimmed([key], [value], 5000)
    assert kept is not None
    assert codec.decode([key], [kept]).clocks[0].tolist() == list(range(4005, 5000, 5))
    assert codec.trimmed([key], [kept], 5000) == [kept]
    (last,) = codec.trimmed([key], [kept], 10**9)
    assert last is not None
    assert last.endswith(writes[-1].row)
    assert codec.decode([key], [last]).floors.tolist() == [10**9]
    assert len(last) == len(writes[-1].row) + 16
    assert codec.trimmed([key, key], [None, b""], 0) == [None, b""]


def test_damage_is_told() -> None:
    """A value that is cut short, changed in a bit, or another entity's, is reported, and the others are read."""
    codec = EventCodec(VIEW)
    good, other = (codec.encode(events([1, 2], k=k), {}) for k in (1, 2))
    key, value = good[0].key, good[0].row + good[1].row
    flipped = bytearray(value)
    flipped[-3] ^= 4
    values = [value, value[:-1], bytes(flipped), other[0].row, value + b"\0"]
    held = codec.decode([key] * 5, values)
    assert held.corrupt == [1, 2, 3, 4]
    assert held.codes.tolist() == [0, 0]
    assert codec.trimmed([key] * 5, values, 0)[1:] == values[1:]
    found = codec.fold(held, ["x_sum_10us"], np.full(5, 5))
    assert found.features["x_sum_10us"].to_pylist() == [1.0, None, None, None, None]


def test_a_view_that_only_counts() -> None:
    """Without a column there are still events."""
    view = FeatureView(
        "v", Entity("e", {"k": "int64"}), VIEW.fields, aggregations=[Aggregation("count", windows=["1ms"])]
    )
    codec = EventCodec(view)
    writes = codec.encode(events([1, 2]), {})
    held = codec.decode([writes[0].key], [writes[0].row + writes[1].row])
    assert codec.fold(held, ["count_1ms"], np.array([9])).features.to_pylist() == [{"count_1ms": 2}]
    assert len(writes[0].row) < 40


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_held(count: int) -> None:
    """Keys without a value fold to nothing known."""
    codec = EventCodec(VIEW)
    found = codec.fold(codec.decode([b"k"] * count, [None] * count), ["x_sum_10us"], np.zeros(count, np.int64))
    assert found.features["x_sum_10us"].to_pylist() == [None] * count
    assert not found.known.any()


def test_ids_of_any_length_take_as_much() -> None:
    """A text that only tells events apart is kept as a digest; one that an aggregate reads is kept as it is, too."""
    identified = replace(VIEW, event_id=["shop", "order"], fields=[*VIEW.fields, Field("order", "string", "Which.")])
    codec, columns = EventCodec(identified), ["o", "o" * 1_000, "o", "ö", "o"]
    rows = events([1, 2, 3, 4, 5]).set_column(5, "shop", pa.array(["a", "a", "a", "a", "b"]))
    writes = codec.encode(rows.append_column("order", pa.array(columns)), {})
    assert len({len(write.row) for write in writes}) == 1
    held = codec.decode([writes[0].key], [b"".join(write.row for write in writes)])
    found = codec.fold(held, ["x_sum_10us", "shop_last_1ms"], np.array([5]))
    assert found.features.to_pylist() == [{"x_sum_10us": 1.0 + 2.0 + 3.0 + 4.0, "shop_last_1ms": "b"}]


def test_what_a_read_of_a_hot_entity_fetches() -> None:
    """Of 10,000 events in thirty days with ids of 36 letters a read fetches less than 16 kB, of plain ones 6 kB."""
    fields = [Field("x", "float64", "A value."), Field("order", "string", "The order.")]
    windows = ["1h", "6h", "1d", "7d", "30d"]
    aggregations = [Aggregation(function, "x", windows=windows) for function in ("sum", "max")]
    day = 86_400_000_000
    times = (np.arange(10_000) * (30 * day // 10_000)).tolist()
    rows = events(times).drop_columns("shop").append_column("order", pa.array([f"{n:036}" for n in range(10_000)]))
    for event_id, most in ((["order"], 16_000), ([], 6_000)):
        view = replace(VIEW, fields=fields, aggregations=aggregations, event_id=event_id)
        codec = EventCodec(view)
        writes = codec.encode(rows, {})
        (value,) = codec.trimmed([writes[0].key], [b"".join(write.row for write in writes)], 29 * day)
        assert value is not None
        (headed,) = codec.headed([writes[0].key], [value], 30 * day - 60_000_000, 30 * day)
        assert len(headed) < most
        held, moments = codec.decode([writes[0].key], [headed]), np.array([30 * day])
        whole = codec.decode([writes[0].key], [value])
        names = list(view.features)
        assert codec.fold(held, names, moments).features.equals(codec.fold(whole, names, moments).features)
