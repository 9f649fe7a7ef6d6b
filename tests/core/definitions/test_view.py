"""Fields and feature views: what is refused on construction, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import SQL, Entity, FeatureView, Field, Source
from fs_core.errors import DefinitionError
from fs_core.testing.histories import SCALARS
from fs_core.values import dtypes

user = Entity("user", keys={"user_id": "int64"})
item = Entity("item", keys={"sku": "string", "region": "string"})
clicks = Field("clicks", "int64", "Clicks.")


def view(**changes: Any) -> FeatureView:
    """A view, but for what is given."""
    return FeatureView(**{"name": "stats", "entity": user, "fields": [clicks], "description": "Statistics.", **changes})


def test_entities_together_are_the_key() -> None:
    """Several entities make a composite key: their keys, in order."""
    pair = view(entity=[user, item])
    assert dict(pair.keys) == {"user_id": pa.int64(), "sku": pa.string(), "region": pa.string()}
    assert list(view(entity=(item, user)).keys) == ["sku", "region", "user_id"]
    assert pair.digest != view(entity=[item, user]).digest


def test_keys_and_features_cannot_be_changed() -> None:
    """What a view hands out of its parts is read-only: a definition never changes."""
    for part in (view().keys, view().features):
        with pytest.raises(TypeError):
            part["other"] = pa.int64()  # type: ignore[index]  # that is the point


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "user__stats"}, "view name 'user__stats' holds '__' or ends in '_', and '__' separates view"),
        ({"name": "stats_"}, "view name 'stats_' holds '__' or ends in '_'"),
        ({"name": "__stats"}, "view name '__stats' is not usable"),
        ({"name": "user-stats"}, "view name 'user-stats' is not usable"),
        ({"version": "1.0"}, "view 'stats': version '1.0' is not major.minor.patch"),
        ({"entity": 7}, "view 'stats': entity is 7; pass an Entity, a list of them, or None"),
        ({"entity": []}, "view 'stats': entity is []"),
        ({"entity": "user"}, "view 'stats': entity is 'user'"),
        ({"entity": [user, "item"]}, "view 'stats': entity is ["),
        ({"entity": [user, user]}, "view 'stats': its entities: 'user' and 'user' are one name"),
        (
            {"entity": [user, Entity("User", {"id": "int64"})]},
            "view 'stats': its entities: 'user' and 'User' are one name",
        ),
        (
            {"entity": [user, Entity("buyer", {"USER_ID": "int64"})]},
            "view 'stats': keys of its entities: 'user_id' and 'USER_ID' are one name",
        ),
        ({"fields": []}, "view 'stats': fields is []; pass a list with at least one Field"),
        ({"fields": clicks}, "view 'stats': fields is Field("),
        ({"fields": ["clicks"]}, "view 'stats': fields is ['clicks']"),
        ({"fields": [clicks, clicks]}, "view 'stats': 'clicks' and 'clicks' are one name to a database"),
        ({"fields": [clicks, Field("Clicks", "bool")]}, "view 'stats': 'clicks' and 'Clicks' are one name"),
        ({"fields": [Field("user_id", "int64")]}, "view 'stats': 'user_id' and 'user_id' are one name"),
        (
            {"fields": [Field("event_timestamp", "int64")]},
            "view 'stats': 'event_timestamp' and 'event_timestamp' are one",
        ),
        ({"available_at": "clicks"}, "view 'stats': 'clicks' and 'clicks' are one name"),
        ({"event_timestamp": "user_id"}, "view 'stats': 'user_id' and 'user_id' are one name"),
        ({"event_timestamp": "__event_time"}, "view 'stats': event_timestamp name '__event_time' is not usable"),
        ({"event_timestamp": None}, "view 'stats': event_timestamp name None is not usable"),
        ({"available_at": "landed at"}, "view 'stats': available_at name 'landed at' is not usable"),
        ({"lag": "-1d"}, "view 'stats': lag '-1d' is not a duration"),
        ({"lag": timedelta(-1)}, "view 'stats': lag is negative"),
        ({"lag": None}, "view 'stats': lag None is not a duration"),
        ({"ttl": "soon"}, "view 'stats': ttl 'soon' is not a duration. Write a timedelta or text such as '30d'"),
        ({"ttl": 30}, "view 'stats': ttl 30 is not a duration"),
        ({"ttl": "0s"}, "view 'stats': with ttl='0s' every row is expired at once. Use None for no expiry"),
        ({"ttl": timedelta(0)}, "view 'stats': with ttl='0s' every row is expired"),
        ({"ttl": "1h", "lag": "1h"}, "view 'stats': with ttl='1h' and lag='1h' every row is expired before it is"),
        ({"ttl": "1h", "lag": "2h"}, "view 'stats': with ttl='1h' and lag='2h' every row is expired before it is"),
        ({"source": "SELECT 1"}, "view 'stats': source is 'SELECT 1'; pass SQL('SELECT ...'), a Source or None"),
        ({"online": "no"}, "view 'stats': online is 'no'; pass True or False"),
    ],
)
def test_views_that_are_refused(changes: dict[str, Any], message: str) -> None:
    """A view that contradicts itself is refused with its name, both sides of a clash, and what to write instead."""
    with pytest.raises(DefinitionError) as caught:
        view(**changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"name": "__seq"}, "field name '__seq' is not usable"),
        ({"name": None}, "field name None is not usable"),
        ({"dtype": "int65"}, "field 'clicks': 'int65' is no dtype. Use a pyarrow type or one of"),
        ({"dtype": None}, "field 'clicks': None is no dtype"),
        ({"dtype": pa.int64}, "field 'clicks':"),
        ({"dtype": pa.time64("us")}, "field 'clicks': time64[us] can't be stored. Use int64 and name the unit"),
        ({"description": None}, "field 'clicks': description is None, not text"),
        ({"nullable": "no"}, "field 'clicks': nullable is 'no'; pass True or False"),
        ({"nullable": None}, "field 'clicks': nullable is None"),
        ({"minimum": 1, "maximum": 0}, "field 'clicks': minimum 1 exceeds maximum 0"),
        ({"minimum": "0"}, "field 'clicks': minimum and maximum are numbers, not ['0']"),
        ({"maximum": float("nan")}, "field 'clicks': minimum and maximum are numbers, not [nan]"),
        ({"allowed": [1.5]}, "field 'clicks': allowed is [1.5]; pass a list of values of type int64, as [1, 2, 3]"),
        ({"allowed": [True]}, "field 'clicks': allowed is [True]; pass a list"),
        ({"allowed": []}, "field 'clicks': allowed is []; pass a list"),
        ({"allowed": [2**63]}, "field 'clicks': allowed value 9223372036854775808 is no int64"),
        (
            {"dtype": "string", "allowed": "MF"},
            "field 'clicks': allowed is 'MF'; pass a list of values of type",
        ),
        ({"dtype": "float32", "allowed": [1]}, "field 'clicks': float can't have a list of allowed values"),
        ({"maximum": True}, "field 'clicks': minimum and maximum are numbers, not [True]"),
        ({"dtype": "string", "minimum": 0}, "field 'clicks': string has no range; drop minimum and maximum"),
        ({"dtype": "list<int64>", "maximum": 0}, "field 'clicks': list<item: int64> has no range"),
        ({"dtype": "timestamp", "maximum": 0}, "field 'clicks': timestamp[us, tz=UTC] has no range"),
    ],
)
def test_fields_that_are_refused(field: dict[str, Any], message: str) -> None:
    """A field's name, dtype and range are checked at once; the error names the field."""
    with pytest.raises(DefinitionError) as caught:
        Field(**{"name": "clicks", "dtype": "int64", **field})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("dtype", SCALARS)
def test_ranges_are_for_numbers(dtype: str) -> None:
    """Whole numbers, floats and decimals have a range; nothing else has."""
    if dtype.startswith(("int", "uint", "float", "decimal")):
        assert Field("f", dtype, minimum=0, maximum=0.5).maximum == 0.5
    else:
        with pytest.raises(DefinitionError, match="has no range"):
            Field("f", dtype, minimum=0)


@given(st.integers(-(2**53), 2**53))
def test_a_whole_bound_is_one_bound(bound: int) -> None:
    """A bound of 5 and one of 5.0 mean the same: one definition, one digest."""
    whole, floating = (view(fields=[Field("f", "float64", "F.", minimum=b)]) for b in (bound, float(bound)))
    assert whole == floating
    assert whole.digest == floating.digest


@given(st.integers(2**53 + 1, 2**63))
def test_a_bound_beyond_what_floats_hold_is_exact(bound: int) -> None:
    """A large whole bound is kept to the last digit."""
    assert Field("f", "int64", "F.", maximum=bound).maximum == bound
    assert f'"maximum": {bound}' in str(view(fields=[Field("f", "int64", "F.", maximum=bound)]).to_dict()).replace(
        "'", '"'
    )


@pytest.mark.parametrize(("text", "same"), [("30d", timedelta(30)), ("15m", timedelta(minutes=15)), ("2w", "14d")])
def test_durations_as_text_or_timedelta(text: str, same: timedelta | str) -> None:
    """A lag or ttl means the same however it is written."""
    for name in ("lag", "ttl"):
        written, meant = view(**{name: text}), view(**{name: same})
        assert written == meant
        assert written.digest == meant.digest
    assert view(lag=text).lag_micros == view(ttl=text).ttl_micros == view(ttl=same).ttl_micros


@given(st.sampled_from(SCALARS))
def test_dtypes_as_text_or_arrow(name: str) -> None:
    """A dtype means the same as a pyarrow type, as its alias, and in another layout."""
    plain = dtypes.resolve(name)
    written = view(fields=[Field("f", name, "F.")])
    assert written == view(fields=[Field("f", plain, "F.")])
    assert written == view(fields=[Field("f", pa.dictionary(pa.int8(), plain), "F.")])
    assert written.features == {"f": plain}


def test_what_each_parameter_defaults_to() -> None:
    """Left out, a fact is available at its event time, stays for ever, and is served online."""
    made = view()
    assert (made.lag_micros, made.ttl_micros, made.online, made.available_at) == (0, None, True, None)
    assert (made.version, made.event_timestamp, made.source) == ("1.0.0", "event_timestamp", None)


def test_each_meaning_has_a_storage_of_its_own() -> None:
    """Rows are kept by digest: documentation shares them, another meaning doesn't."""
    assert view().storage_name == view(description="Other words.", version="1.0.1", online=False).storage_name
    meanings = [view(), view(ttl="1d"), view(lag="1d"), view(event_timestamp="at"), view(available_at="at")]
    meanings += [view(source=SQL("SELECT 1")), view(source=Source("s", "s.csv")), view(entity=item), view(name="other")]
    meanings += [view(fields=[Field("clicks", "int32")]), view(fields=[Field("clicks", "int64", nullable=False)])]
    assert len({meaning.storage_name for meaning in meanings}) == len(meanings)


def test_a_share_of_nulls_is_documentation() -> None:
    """It may change in a patch, since no value depends on it; the digest stays, and the rows."""
    some, none = (view(fields=[Field("f", "float64", "F.", max_null_rate=rate)]) for rate in (0.05, None))
    assert some.digest == none.digest
    assert some != none
    assert [f.nulls for f in (*some.fields, *none.fields)] == ["at most 5.00%", "allowed"]


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), "5%", True])
def test_a_share_of_nulls_is_a_number_up_to_one(rate: Any) -> None:
    """And has no sense where no null is allowed."""
    with pytest.raises(DefinitionError, match="max_null_rate"):
        Field("f", "float64", max_null_rate=rate)
    with pytest.raises(DefinitionError, match="allows no nulls"):
        Field("f", "float64", nullable=False, max_null_rate=0.1)
