"""Rows of a log, and what each log's columns mean: made of many reads at once, in a thread."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.monitoring.log.served import PackedRows, ServedReads, TableRows
from fs_core.offline.days.table import DAY
from fs_core.online.row.cells import Cells, Sizes, one_array
from fs_core.online.row.codec import DecodedRows
from fs_core.online.row.columns import FeatureRows
from fs_core.online.row.keys import unpack_keys, whole_numbers
from fs_core.online.row.layout import layout_of
from fs_core.retrieval.query import Query
from fs_core.retrieval.selection import Selection
from fs_core.rule import Status
from fs_core.serving.answers import FOUND, STATUSES
from fs_core.serving.plan import ReadPlan, ViewPlan
from fs_core.values.dtypes import canonical, resolve
from fs_core.values.times import MICROSECONDS, from_micros

FORMAT = 1
REQUEST_ID, ROW = "__request_id", "__row"
AT, READ_AT, MAX_AGE = "__at", "__read_at", "__max_age"
_HEAD = {
    DAY: pa.string(),
    REQUEST_ID: pa.string(),
    ROW: pa.int32(),
    AT: MICROSECONDS,
    READ_AT: MICROSECONDS,
    MAX_AGE: pa.int64(),
}
ORDER = {"status": pa.string(), "event_time": MICROSECONDS, "available_at": MICROSECONDS, "seq": pa.int64()}
"""What is logged of each look-up beside its features: columns `__status_0` and so on, numbered as look-ups are."""
_DAY = 86_400_000_000
_READS_AT_ONCE = 20  # between which other threads have their turn


@dataclass(frozen=True)
class Descriptor:
    """What the columns of one table of a log mean; a log has one for each meaning of what was asked.

    Attributes:
        spec: pins the features, as a training set's spec does.
        lookups: of each look-up its name, its view's reference and digest, and by entity the columns of its keys.
        types: the columns' types as texts, in order.
    """

    spec: Mapping[str, Any]
    lookups: Sequence[Mapping[str, Any]]
    types: Mapping[str, str]

    @classmethod
    def of(cls, plan: ReadPlan) -> Descriptor:
        """Describe what a plan asks for."""
        spec = Query(plan.selection, AT, None, timedelta(0), {}).spec()
        types = {**_HEAD, **{field.name: field.type for field in plan.whole}}
        for number in range(len(plan.views)):
            types |= {column(name, number): dtype for name, dtype in ORDER.items()}
        texts = {name: canonical(dtype) for name, dtype in types.items()}
        return cls(spec, _lookups(plan.selection), texts)

    @property
    def digest(self) -> str:
        """Tells this meaning from others, 16 hex digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def schema(self) -> dict[str, pa.DataType]:
        """The columns with their types."""
        return {name: resolve(text) for name, text in self.types.items()}

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        content = {"format": FORMAT, "spec": self.spec, "lookups": self.lookups, "types": self.types}
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Descriptor:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is damaged, or of another format.
        """
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        return cls(content["spec"], content["lookups"], content["types"])


def coded(plan: ReadPlan) -> list[str]:
    """Return the columns of `table_of` whose dictionaries hold nobody's values, only ids of its reads and our words."""
    return [DAY, REQUEST_ID, *(column("status", number) for number in range(len(plan.views)))]


def column(what: str, number: int) -> str:
    """Return the column that holds something of a look-up, such as `__seq_0`."""
    return f"__{what}_{number}"


def _lookups(selection: Selection) -> list[dict[str, Any]]:
    found = []
    for lookup in selection.lookups:
        view, held = lookup.view, dict(zip(lookup.view.request_keys, lookup.columns, strict=True))
        entities = {entity.name: {key: held[key] for key in entity.keys} for entity in view.entities}
        found.append({"name": lookup.name, "view": view.ref, "digest": view.digest, "entities": entities})
    return found


def table_of(reads: ServedReads) -> pa.Table:
    """Return the rows of some reads of one plan, in the columns of its `Descriptor`."""
    plan = reads.plan
    columns = _head(reads)
    columns |= _key_columns(reads)
    for number, name in enumerate(plan.request_schema.names):
        columns[name] = pa.concat_arrays([request[number] for request in reads.requests])
    parts = [_view_part(view, reads.answers[number]) for number, view in enumerate(plan.views)]
    parts += [_computed_part(answers) for answers in reads.answers[len(parts) :]]
    for name, (view, position) in zip(plan.schema.names, plan.columns, strict=True):
        columns[name] = parts[view].features[position]
    for number in range(len(plan.views)):
        columns |= {column(what, number): values for what, values in zip(ORDER, parts[number].order, strict=True)}
    return pa.table(columns)


def _head(reads: ServedReads) -> dict[str, pa.Array]:
    ids, *moments, ages, rows = zip(*reads.facts, strict=True)
    counts = np.fromiter(map(len, rows), np.int64, len(rows)) // np.dtype(np.int64).itemsize
    read = np.repeat(np.arange(len(rows), dtype=np.int32), counts)  # which read each row is of
    at, reads_at = (np.array(values) for values in moments)
    max_age = (np.array(ages) * 1e6).astype(np.int64)[read]
    return {
        DAY: _days(reads_at, read),
        REQUEST_ID: pa.DictionaryArray.from_arrays(read, pa.array(ids, pa.string())),
        ROW: pa.array(np.frombuffer(b"".join(rows), np.int64).astype(np.int32)),
        AT: pa.array(at[read]).cast(MICROSECONDS),
        READ_AT: pa.array(reads_at[read]).cast(MICROSECONDS),
        MAX_AGE: pa.array(max_age),
    }


def _days(moments: Sizes, read: Cells) -> pa.Array:
    """Return the days of reads as texts, of each row that of the read that it is of."""
    days, numbers = np.unique(moments // _DAY, return_inverse=True)
    texts = [from_micros(day * _DAY).date().isoformat() for day in days.tolist()]
    return pa.DictionaryArray.from_arrays(numbers.astype(np.int32)[read], pa.array(texts, pa.string()))


def _key_columns(reads: ServedReads) -> dict[str, pa.ChunkedArray]:
    """Return the key columns, read from the packed keys, each entity's once."""
    found: dict[str, pa.ChunkedArray] = {}
    for number, group in enumerate(reads.plan.groups):
        if not group.columns or set(group.columns) <= set(found):
            continue
        columns = whole_numbers(group.view.keys, reads.keys[number])
        if columns is None:
            entities = pa.array(reads.keys[number], pa.binary()).dictionary_encode()
            columns = unpack_keys(group.view.keys, entities.dictionary.to_pylist())[0].take(entities.indices)
        found = dict(zip(group.columns, columns.columns, strict=True)) | found
    return _with_known(found, reads.known) if reads.known else found


def _with_known(
    columns: Mapping[str, pa.ChunkedArray], known: Sequence[tuple[int, pa.Table]]
) -> dict[str, pa.ChunkedArray]:
    """Return key columns with what is known of some rows, whose packed keys say nothing as a part of them is null."""
    (count,) = set(map(len, columns.values()))
    from_where, start = np.arange(count), count
    for first, rows in known:
        from_where[first : first + rows.num_rows] = np.arange(start, start + rows.num_rows)
        start += rows.num_rows
    beside = pa.concat_tables([rows for _, rows in known])
    return {
        name: pa.chunked_array([*values.chunks, *beside[name].chunks]).take(pa.array(from_where))
        for name, values in columns.items()
    }


@dataclass(frozen=True)
class _Part:
    """What one view answered: its features, and the columns of `ORDER`."""

    features: Sequence[pa.Array]
    order: Sequence[pa.Array]

    @classmethod
    def joined(cls, parts: Sequence[_Part]) -> _Part:
        """Return the rows of several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        features = zip(*(part.features for part in parts), strict=True)
        orders = zip(*(part.order for part in parts), strict=True)
        return cls([pa.concat_arrays(f) for f in features], [pa.concat_arrays(o) for o in orders])


def _view_part(view: ViewPlan, answers: PackedRows | list[TableRows]) -> _Part:
    """Return what a view answered: rows of the online store all at once, tables one by one."""
    if isinstance(answers, list):
        return _Part.joined([_table_part(view.names, read) for read in _in_turn(answers)])
    return _packed_part(view, answers)


def _packed_part(view: ViewPlan, packed: PackedRows) -> _Part:
    layout, codes = layout_of(view.view), np.frombuffer(packed.codes, np.uint8)
    found, present = np.isin(codes, FOUND), codes == STATUSES.index(Status.PRESENT)
    names = packed.variable[0] if packed.variable else ()
    variable = {name: pa.concat_arrays([columns[name] for columns in packed.variable]) for name in names}
    rows = FeatureRows(layout, np.frombuffer(packed.heads, layout.head), variable)
    decoded = DecodedRows(rows, found, [])
    clocks = [pa.array(values, mask=~found).cast(MICROSECONDS) for values in (decoded.event_time, decoded.available_at)]
    status = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(STATUSES))
    features = rows.take(None, None if present.all() else present).arrays(view.names)
    return _Part(features, [status, *clocks, pa.array(decoded.seq, mask=~found)])


def _table_part(names: tuple[str, ...], read: TableRows) -> _Part:
    answer, rows = read.answer, pa.array(read.rows)
    features = [one_array(values).take(rows) for values in answer.arrays(names)]
    status = pa.array(answer.status).take(rows)
    unknown = {name: pa.nulls(len(rows), dtype) for name, dtype in ORDER.items()}
    if answer.event_time is not None:  # of windows, the latest event's
        present = pc.equal(status, Status.PRESENT.value)
        unknown["event_time"] = pc.if_else(present, pa.array(answer.event_time).take(rows), None).cast(MICROSECONDS)
    return _Part(features, list((unknown | {"status": status}).values()))


def _in_turn(part: Sequence[TableRows]) -> Iterator[TableRows]:
    """Yield reads, and now and then let threads have their turn that wait for the interpreter, such as readers."""
    for number, read in enumerate(part):
        if number % _READS_AT_ONCE == 0:
            time.sleep(0)
        yield read


def _computed_part(answers: PackedRows | list[TableRows]) -> _Part:
    assert isinstance(answers, list)  # functions give no others
    whole = pa.concat_tables([rows.answer.table for rows in _in_turn(answers)])
    return _Part([one_array(values) for values in whole.columns], [])
