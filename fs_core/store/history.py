"""Rows into history: written, numbered, copied."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, DataError, DefinitionError
from fs_core.offline.contract import EMPTY
from fs_core.rule import EVENT_TIME
from fs_core.runtime.threads import in_thread
from fs_core.store.resources import Resources
from fs_core.values.interchange import is_spark_frame, to_reader, to_table

if TYPE_CHECKING:
    from fs_core.offline.sifted import Sifted, Written
    from fs_core.sources.sources import Times

log = logging.getLogger("fs_core")

FEW_ROWS = 10_000
"""Up to which writes and pushes that meet are one."""

_FEW_BYTES = 8 << 20  # up to which pushes go by the journal
_PART_BYTES = 64 << 20  # of a stream's rows that are checked and sorted together
_COMPARED = 8  # parts that are compared with history at once, as each time all of it is read
_SEQS = 1_000  # of pushes, after which the registry is told


def write(store: Resources, view: str | FeatureView, data: Any) -> Written:
    """Append rows to a view's history, all or none; return how many.

    Where the view has a quarantine, rows that break what it declares go there, and the number's `.quarantined` names
    them.

    Args:
        view: its reference.
        data: key columns, the event time, the availability if the view names its column, and the
            features; anything `fs_core.values.interchange.to_table` reads. Of a `pyarrow.RecordBatchReader`, and of a
            data frame of Spark or Spark Connect, part after part is read, so that it may be larger than memory.

    Raises:
        SchemaError: a column is missing, unexpected or of the wrong type.
        ValidationError: a null key or time, or a value outside its declared range.
        RegistryError: the registry, which numbers the rows, can't be written, as on a full disk; nothing was
            written.
        OfflineStoreError: history can't be written.
        SourceError: Spark can't compute the frame.
    """
    target = store.view(view)
    found = opened(target, data)
    return append(store, target, found) if isinstance(found, pa.Table) else append_parts(store, target, found)


def opened(view: FeatureView, data: Any, times: Times | None = None) -> pa.Table | Iterator[pa.Table]:
    """Return the rows of data as a table, or part after part where it is a stream: at least one, the first empty.

    Args:
        view: whose rows they are.
        data: as `write` takes it.
        times: other rows of a Spark frame may be left out.

    Raises:
        SchemaError, SourceError: as `write`; while parts are read, too.
    """
    what = f"data for view {view.name!r}"
    if is_spark_frame(data):
        from fs_core.retrieval.spark.frames import reader_of

        data = reader_of(data, what, times)
    if not isinstance(data, pa.RecordBatchReader):
        return to_table(data, what)
    read = to_reader(data, what, batch_size=FEW_ROWS)
    return chain([read.schema.empty_table()], map(pa.table, read))


def carry_over(
    store: Resources, view: str | FeatureView, *, from_: str | FeatureView, mapping: Mapping[str, str] | None = None
) -> int:
    """Copy an earlier version's history into a version that has none, with both clocks and the order; return the rows.

    So a field can be added without making past pushes known earlier than they were. What was available stays so at
    the same moments, or later where the new version declares a longer lag. What transforms compute is computed anew.

    Args:
        view: the version to fill, such as `"v:v2.0.0"`. Fields that the earlier one lacks are null.
        from_: the version to copy from, such as `"v:v1.0.0"`.
        mapping: fields that come from one of another name: new name to old.

    Raises:
        DefinitionError: the keys differ, the version has rows already, or `mapping` names no field.
        SchemaError, ValidationError: a value doesn't fit the new field, or may not be null; nothing was written.
        OfflineStoreError, RegistryError: as in `write`.
    """
    from fs_core.offline.carrying import carried
    from fs_core.transforms.written import computed_columns

    target, source = store.view(view), store.view(from_)
    if store.offline.snapshot(target) != EMPTY:
        raise DefinitionError(
            f"view {target.ref!r} has rows already, and rows that are carried over must come first. Apply a new "
            "version, or write the rows that are missing."
        )
    compute = partial(computed_columns, target)
    rows = carried(target, source, store.offline.read(source), dict(mapping or {}), compute)
    return len(into_history(store, target, rows))


def into_quarantine(store: Resources, view: FeatureView, sifted: Sifted, *, pushed: bool = False) -> pa.Table:
    """Quarantine the rows that break a rule, before the others are in history; return which these are.

    Args:
        store: where.
        view: whose rows.
        sifted: the rows.
        pushed: whether they were.

    Raises:
        OfflineStoreError: they can't be kept.
    """
    from fs_core.offline.sifted import NOTHING

    return store._quarantine(view).add(sifted, store._clock.now(), pushed=pushed) if sifted.positions else NOTHING


def append(
    store: Resources,
    view: FeatureView,
    data: pa.Table,
    *,
    incremental: bool | None = None,
    times: Times | None = None,
) -> Written:
    """Check, number and append rows; return how many.

    Args:
        store: where.
        view: to whose history.
        data: the rows.
        incremental: for a backfill, whether to leave out what is there already.
        times: for a backfill, which rows are asked for; the others are checked, too.
    """
    from fs_core.offline.sifted import Written

    sifted = _sifted(view, data, times)
    checked = sifted.good
    if incremental is not None and store.offline.snapshot(view) != EMPTY:
        missing = store.offline.unwritten(view, checked)
        known = checked.num_rows - missing.num_rows
        if incremental:
            checked = missing
            sifted = sifted.without_known(partial(store.offline.unwritten, view))
        elif known:
            _warn_of_known(view, known, f"these {checked.num_rows}")
    quarantined = into_quarantine(store, view, sifted)
    if checked.num_rows > FEW_ROWS:
        return Written(len(into_history(store, view, checked)), quarantined)
    return Written(store._grouped(_write, view)(checked), quarantined)


def append_parts(
    store: Resources,
    view: FeatureView,
    parts: Iterable[pa.Table],
    *,
    incremental: bool | None = None,
    times: Times | None = None,
) -> Written:
    """Check, number and append rows part after part, all or none; return how many.

    Args:
        store: where.
        view: to whose history.
        parts: the rows.
        incremental: for a backfill into a history with rows, whether to leave out what is there already.
        times: as for `append`.
    """
    from fs_core.offline.contract import StreamedHistory
    from fs_core.offline.sifted import NOTHING, Written

    if not isinstance(store.offline, StreamedHistory):
        return append(store, view, pa.concat_tables(parts), incremental=incremental, times=times)
    counts, quarantined = list[int](), [NOTHING]
    ready = _numbered(store, view, parts, counts, quarantined, incremental, times)
    for first in ready:
        store.offline.append_parts(view, chain([first], ready))
    log.info("wrote %d rows to %s", sum(counts), view.ref)
    return Written(sum(counts), pa.concat_tables(quarantined))


def _numbered(
    store: Resources,
    view: FeatureView,
    parts: Iterable[pa.Table],
    counts: list[int],
    quarantined: list[pa.Table],
    incremental: bool | None,
    times: Times | None,
) -> Iterator[pa.Table]:
    """Yield rows checked and numbered; in the end quarantine those that break a rule.

    Args:
        store: where.
        view: whose rows.
        parts: the rows.
        counts: gets how many are good, each time.
        quarantined: gets what a writer is answered of those.
        incremental: as for `append_parts`.
        times: as for `append`.
    """
    from fs_core.offline.sifted import Sifted

    broken: list[Sifted] = []
    found: Iterator[pa.Table] = (
        numbered(store, view, good) for good in _checked(view, parts, broken, times) if good.num_rows
    )
    if incremental is not None:
        found = (_missing if incremental else _with_warning)(store, view, found)
    for rows in found:
        if rows.num_rows:
            counts.append(rows.num_rows)
            yield rows
    if broken:  # in another thread: Delta's library runs this one, and can't be called from it
        held = Sifted.joined(broken)
        quarantined.append(in_thread(lambda: _quarantined(store, view, held, incremental)).result())


def _sifted(view: FeatureView, data: pa.Table, times: Times | None) -> Sifted:
    """Return the rows that are asked for; all are checked, so that they are counted as in the data."""
    from fs_core.transforms.written import sifted_rows

    sifted = sifted_rows(view, data)
    return sifted if times is None else sifted.within(times.start, times.end)


def _checked(
    view: FeatureView, parts: Iterable[pa.Table], broken: list[Sifted], times: Times | None
) -> Iterator[pa.Table]:
    """Yield the good rows; those that break a rule are for `broken`."""
    first = 0
    for part in large(parts):
        try:
            sifted = _sifted(view, part, times)
        except DataError as error:
            if not first:
                raise
            raise type(error)(f"{error} Rows are counted from row {first:,} of the data on.") from error
        if sifted.positions:
            broken.append(sifted.moved(first))
        first += part.num_rows
        yield sifted.good


def _missing(store: Resources, view: FeatureView, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows that history lacks.

    What is compared with each other must come together: see `OfflineStore.unwritten`. Rows are numbered already, so
    their order is that of the data all the same.
    """
    from fs_core.sources.buckets import Buckets

    with Buckets([*view.keys, *(view.event_id or [EVENT_TIME])]) as buckets:
        for part in parts:
            buckets.add(part)
        for rows in large(buckets.tables(), _COMPARED):
            yield in_thread(partial(store.offline.unwritten, view, rows)).result()


def _with_warning(store: Resources, view: FeatureView, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows; say in the log how many of the first part history has: to compare all would take a disk."""
    for first in parts:
        known = first.num_rows - in_thread(partial(store.offline.unwritten, view, first)).result().num_rows
        yield first
        yield from parts
        if known:
            _warn_of_known(view, known, f"the first {first.num_rows}")


def _quarantined(store: Resources, view: FeatureView, held: Sifted, incremental: bool | None) -> pa.Table:
    """Quarantine rows; of a backfill that leaves out what is there already, those that history hasn't."""
    known = held.without_known(partial(store.offline.unwritten, view)) if incremental else held
    return into_quarantine(store, view, known)


def _warn_of_known(view: FeatureView, known: int, of: str) -> None:
    log.warning(
        "backfill of %s: history had %d of %s rows already, and has them twice now. "
        "backfill(..., incremental=True) writes the others alone.",
        view.ref,
        known,
        of,
    )


def large(parts: Iterable[pa.Table], times: int = 1) -> Iterator[pa.Table]:
    """Yield tables as fewer ones, each large enough to be worth sorting and small enough for memory; at least one.

    Args:
        parts: the tables.
        times: how many times as large they may be.

    Raises:
        SchemaError: no type holds the values of a column in all of them.
    """
    from fs_core.sources.sources import joined

    held, size = list[pa.Table](), 0
    for part in parts:
        if held and size + part.nbytes > times * _PART_BYTES:
            yield joined(held)
            held, size = [], 0
        held, size = [*held, part], size + part.nbytes
    if held:
        yield joined(held)


def _write(store: Resources, view: FeatureView, together: Sequence[pa.Table]) -> list[int]:
    """Append the rows of writes that met; return how many each had."""
    into_history(store, view, pa.concat_tables(together))
    return [rows.num_rows for rows in together]


def into_history(store: Resources, view: FeatureView, checked: pa.Table, *, pushed: bool = False) -> pa.Table:
    """Number and append checked rows; return them as history has them.

    Args:
        view: whose rows.
        checked: the rows, as `validate_rows` returns them.
        pushed: whether they are live, so that few of them needn't be a commit of the table.
    """
    from fs_core.offline.contract import PushedHistory

    rows, count = numbered(store, view, checked, pushed=pushed), checked.num_rows
    if count == 0:
        return rows
    few = count <= FEW_ROWS and rows.nbytes <= _FEW_BYTES
    if pushed and few and isinstance(store.offline, PushedHistory):
        store.offline.push(view, rows)
    else:
        store.offline.append(view, rows)
    log.info("wrote %d rows to %s", rows.num_rows, view.ref)
    return rows


def numbered(store: Resources, view: FeatureView, checked: pa.Table, *, pushed: bool = False) -> pa.Table:
    """Return checked rows as history has them, with seqs that no other row has.

    Args:
        store: whose registry and history number them.
        view: whose rows.
        checked: the rows.
        pushed: whether they are, so that the registry needn't hear of each.
    """
    from fs_core.offline.validation import with_sequence

    count = checked.num_rows
    least = _least_seq(store, view, count, pushed=pushed) if count else 0
    return with_sequence(view, checked, store.offline.reserve(view, count, at_least=least) if count else 0)


def _least_seq(store: Resources, view: FeatureView, count: int, *, pushed: bool) -> int:
    """Return from which seq on the registry gives out numbers; pushes tell it of many at a time, as each is a commit.

    History's own number is what counts; the registry's is for a history whose directory was lost.
    """
    name = view.storage_name
    first, owed = store._seqs.get(name, (None, 0))
    owed += count
    if first is None or owed >= _SEQS or not pushed:
        first, owed = store.registry.reserve(name, owed), 0
    store._seqs[name] = first, owed
    return first


def compact(store: Resources, *views: str | FeatureView) -> None:
    """Lay the history of views out afresh for fast search, by default of every current view.

    Many small writes leave many small files. Nothing is lost: rows, states and fingerprints stay.

    Raises:
        OfflineStoreError: history can't be written.
    """
    listed = [r.definition for r in store.registry.listing("view") if r.current]
    for target in [store.view(view) for view in views] or [v for v in listed if isinstance(v, FeatureView)]:
        store.offline.compact(target)
        log.info("compacted %s", target.ref)


def history(store: Resources, view: str | FeatureView) -> pa.Table:
    """Return every row of a view's history, in the order written.

    The columns are the keys; `__event_time` and `__available_at`, the two clocks of the as-of rule; `__seq`, the order
    of writing; and the features.
    """
    target = store.view(view)
    rows = store.offline.read(target)
    return rows if target.entities else rows.drop_columns(list(target.keys))


def export(
    store: Resources,
    view: str | FeatureView,
    to: str | os.PathLike[str],
    *,
    table: str | None = None,
    latest: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a view's history to a Parquet file or a PostgreSQL table, whole or not at all; return how many rows.

    The columns are those of `history`: keys, both clocks, `__seq`, and what is stored. Unsigned numbers become the
    next wider type, float16 becomes float32. The rows are in memory meanwhile.

    Args:
        view: its reference.
        to: the file's path, or `postgresql://user:${NAME}@host/database`; `${NAME}` is an environment variable.
        table: the table's name, perhaps behind a schema's and a dot; by default the view's name.
        latest: only each entity's winner by the rule, now; expired ones too.
        overwrite: replace what has that name.

    Raises:
        ConfigurationError: there is such a file, or it can't be written; it is another database's URL, or the driver
            isn't installed.
        DataError: the table's name is none.
        DefinitionError: `latest` of a view with aggregations, whose rows are events.
        OfflineStoreError: history can't be read, or the database refuses.
        SourceError: the URL names a variable that isn't set.
    """
    from fs_core.warehouse.export import is_url, write_parquet, write_table

    target = store.view(view)
    if latest and target.aggregations:
        raise DefinitionError(f"view {target.name!r} has aggregations: no single row is its latest. Export all rows.")
    rows = _winners_now(store, target) if latest else history(store, target)
    if is_url(to):
        write_table(rows, str(to), table or target.name, overwrite=overwrite)
    elif table is not None:
        raise ConfigurationError(f"{str(to)!r} is a file, which has no table. Leave table out, or name a database.")
    else:
        write_parquet(rows, Path(to), overwrite=overwrite)
    return int(rows.num_rows)


def _winners_now(store: Resources, view: FeatureView) -> pa.Table:
    rows = store.offline.winners(view, until=store._clock.now()).rows.read_all()
    return rows if view.entities else rows.drop_columns(list(view.keys))
