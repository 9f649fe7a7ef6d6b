"""Point-in-time retrieval: a spine in, a training set out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError, SchemaError, UnknownReferenceError
from fs_core.retrieval.computed import computed
from fs_core.retrieval.coverage import warn_of_absence
from fs_core.retrieval.resolution import select
from fs_core.retrieval.selection import (
    SelectedFeature,
    Selection,
    ViewLookup,
    key_table,
    other_meaning,
    pinned_as,
    reads_of,
)
from fs_core.rule import EVENT_TIME, STATUS, Status, at_moment
from fs_core.training_set import TrainingSet, checked_label, label_columns
from fs_core.values.dtypes import canonical
from fs_core.values.interchange import require_columns, to_table
from fs_core.values.times import MICROSECONDS, duration_micros, format_duration, parse_duration, to_utc_micros

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore, Snapshot
    from fs_core.registry import Registry

SPEC_FORMAT = 1
_NEEDED = ("features", "views", "timestamp", "label", "lag", "full_names", "snapshots")
RULE = "as-of/1"
"""Names the rule in `fs_core.rule`; a change of its meaning would be another number."""


@dataclass(frozen=True)
class Query:
    """What is asked of history, apart from the spine.

    Attributes:
        selection: the features.
        timestamp: the spine's time column.
        label: the spine's label column, or several, if any is named.
        lag: how far before each moment to look; zero to serve the same row online.
        snapshots: the state of each view's history, by view name.
    """

    selection: Selection
    timestamp: str
    label: str | list[str] | None
    lag: timedelta
    snapshots: Mapping[str, Snapshot]

    def spec(self) -> dict[str, Any]:
        """Return the JSON-serialisable provenance of the result."""
        selection = self.selection
        requests = {column: canonical(dtype) for column, dtype in selection.requests.items()}
        return {
            "format": SPEC_FORMAT,
            "rule": RULE,
            "features": [_feature_spec(feature) for feature in selection.features],
            "views": [_view_spec(view) for view in selection.views],
            "keys": list(selection.keys),
            **({"requests": requests} if requests else {}),
            "timestamp": self.timestamp,
            "label": self.label,
            "lag": None if not self.lag else format_duration(self.lag),
            "full_names": selection.full_names,
            "snapshots": dict(self.snapshots),
        }


def historical_features(offline: OfflineStore, spine: Any, query: Query) -> TrainingSet:
    """Apply the as-of rule to every row of the spine.

    Args:
        offline: the history that is asked.
        spine: anything that `to_table` reads.
        query: what is asked.

    Raises:
        SchemaError: the spine lacks the time, the label or a key, or one has the wrong type.
        NameClashError: a feature and a spine column share a name.
    """
    table = to_table(spine, "the spine")
    _require(table, query)
    found: dict[ViewLookup, pa.Table] = {}
    status = {}
    for lookup, asked, rows in answers(offline, table, query):
        status[lookup.name] = rows[STATUS].dictionary_encode()
        snapshot = query.snapshots[lookup.view.name]
        warn_of_absence(offline, lookup.view, asked.append_column(STATUS, rows[STATUS]), snapshot)
        found[lookup] = rows
    return made_of(query, _beside(table, _columns(query, found, table)), status)


def made_of(query: Query, table: pa.Table, status: Mapping[str, pa.ChunkedArray] | None = None) -> TrainingSet:
    """Return a training set of rows that were looked up.

    Args:
        query: what was asked.
        table: the spine's columns, then the features.
        status: of each row, by look-up, where it is known.
    """
    selection = query.selection
    return TrainingSet(
        table,
        list(selection.columns),
        list(selection.keys),
        query.timestamp,
        query.label,
        query.spec(),
        selection.definitions,
        status or {},
    )


def joined(offline: OfflineStore, spine: pa.Table, query: Query) -> pa.Table:
    """Return the spine's columns, then the features of each of its rows; no training set, so no warnings.

    Args:
        offline: the history that is asked.
        spine: the rows.
        query: what is asked.

    Raises:
        SchemaError, NameClashError: as in `historical_features`.
    """
    _require(spine, query)
    return _beside(spine, features_of(offline, spine, query))


def features_of(offline: OfflineStore, spine: pa.Table, query: Query) -> dict[str, pa.ChunkedArray]:
    """Return the features of each row of the spine by column, in the order asked for.

    Args:
        offline: the history that is asked.
        spine: keys and times, among others.
        query: what is asked.

    Raises:
        SchemaError: a key or the time is missing or of the wrong type.
    """
    require_columns([query.timestamp], spine.column_names, "the spine")
    return _columns(query, {lookup: rows for lookup, _, rows in answers(offline, spine, query)}, spine)


def _require(spine: pa.Table, query: Query) -> None:
    require_columns([query.timestamp, *label_columns(query.label)], spine.column_names, "the spine")
    query.selection.refuse_clash(spine.column_names, "the spine")
    for name in label_columns(query.label):
        if name in query.selection.requests:
            raise SchemaError(f"label {name!r} is a request column, from which features are computed. Name another.")


def answers(offline: OfflineStore, spine: pa.Table, query: Query) -> Iterator[tuple[ViewLookup, pa.Table, pa.Table]]:
    """Yield each look-up with what history is asked, and what it answers, as `OfflineStore.as_of` does.

    Args:
        offline: the history that is asked.
        spine: keys and times, among others.
        query: what is asked.

    Raises:
        SchemaError: a key or the time is missing or of the wrong type.
    """
    times = moments(spine, query)
    for lookup, features in query.selection.lookups.items():
        asked = at_moment(key_table(spine, lookup, "the spine"), times)
        names = list(dict.fromkeys(feature.key for feature in features))
        yield lookup, asked, found_rows(offline, lookup.view, asked, names, query.snapshots[lookup.view.name])


def found_rows(
    offline: OfflineStore, view: FeatureView, asked: pa.Table, names: Sequence[str], snapshot: Snapshot | None = None
) -> pa.Table:
    """Return `OfflineStore.as_of`'s answer, with the event time null unless present where it is asked for, too.

    Args:
        offline: the history.
        view: whose.
        asked: keys and moments.
        names: features, `EVENT_TIME` or `AVAILABLE_AT`.
        snapshot: the state to read (default: the newest).
    """
    import pyarrow.compute as pc

    rows = offline.as_of(view, asked, [name for name in names if name != EVENT_TIME], snapshot=snapshot)
    if EVENT_TIME not in names:
        return rows
    shown = pc.if_else(pc.equal(rows[STATUS], Status.PRESENT.value), rows[EVENT_TIME], pa.scalar(None, MICROSECONDS))
    return rows.set_column(rows.schema.get_field_index(EVENT_TIME), EVENT_TIME, shown)


def _columns(query: Query, found: Mapping[ViewLookup, pa.Table], spine: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the features by column: those that were looked up, and those computed from them."""

    def looked_up(feature: SelectedFeature) -> pa.ChunkedArray:
        return found[feature.lookup][feature.key]

    made = computed(query.selection, looked_up, spine, "the spine")
    return {
        feature.column: looked_up(feature) if feature.computation is None else made[feature.computation][feature.name]
        for feature in query.selection.features
    }


def _beside(spine: pa.Table, found: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    schema = pa.schema([*spine.schema, *((column, values.type) for column, values in found.items())])
    return pa.Table.from_arrays([*spine.columns, *found.values()], schema=schema)


def recreate(offline: OfflineStore, registry: Registry, spec: Mapping[str, Any], spine: Any) -> TrainingSet:
    """Return the training set that a spec describes; each part of a refreshed one from its own states.

    Args:
        offline: the history that is asked.
        registry: knows the pinned versions.
        spec: of the training set.
        spine: that it was made from.

    Raises:
        DataError: the spec is none, or incomplete; the parts don't add up to the spine.
        UnknownReferenceError: as in `query_from_spec`.
    """
    query = query_from_spec(registry, spec)
    parts = spec.get("parts")
    if not parts:
        return historical_features(offline, spine, query)
    table = to_table(spine, "the spine")
    rows = sum(part["rows"] for part in parts)
    if len(table) != rows:
        raise DataError(f"the spine has {len(table):,} rows, the training set {rows:,}. Pass those it was made from.")
    pieces, start = [], 0
    for part in parts:
        pinned = replace(query, snapshots=dict(part["snapshots"]))
        pieces.append(historical_features(offline, table.slice(start, part["rows"]), pinned))
        start += part["rows"]
    whole = pa.concat_tables([piece.table for piece in pieces])
    status = {view: pa.chunked_array([c for p in pieces for c in p.status[view].chunks]) for view in pieces[0].status}
    spec = {**query.spec(), "parts": [dict(part) for part in parts]}
    return replace(pieces[-1], table=whole, spec=spec, status=status)


def parts_of(training_set: TrainingSet) -> list[TrainingSet]:
    """Return the rows that read the same states of history, each with the spec of their own.

    Raises:
        DataError: the spec's parts don't add up to the rows.
    """
    spec = {name: part for name, part in training_set.spec.items() if name != "parts"}
    parts = training_set.spec.get("parts", [{"rows": len(training_set), "snapshots": spec["snapshots"]}])
    rows = sum(part["rows"] for part in parts)
    if rows != len(training_set):
        raise DataError(f"the training set has {len(training_set):,} rows, the parts of its spec {rows:,}.")
    found, start = [], 0
    for part in parts:
        table = training_set.table.slice(start, part["rows"])
        own = {**spec, "snapshots": dict(part["snapshots"])}
        found.append(replace(training_set, table=table, spec=own, status={}))
        start += part["rows"]
    return found


def query_from_spec(registry: Registry, spec: Mapping[str, Any]) -> Query:
    """Rebuild the query that a training set's spec describes, on the same states of history.

    Raises:
        DataError: it is no spec, or incomplete.
        UnknownReferenceError: a view's version is gone or means something else now.
    """
    if not isinstance(spec, Mapping):
        raise DataError(
            f"the spec is a {type(spec).__name__}. Pass a training set's spec; if it is text, json.loads(text)."
        )
    if spec.get("format") != SPEC_FORMAT or spec.get("rule") != RULE:
        raise UnknownReferenceError(
            f"spec of format {spec.get('format')!r}, rule {spec.get('rule')!r}: this fs_core reads format "
            f"{SPEC_FORMAT}, rule {RULE!r}. Use the version that wrote it."
        )
    lacking = [part for part in _NEEDED if part not in spec]
    if lacking:
        raise DataError(f"the spec has no {lacking[0]!r}. Pass all of a training set's spec.")
    views = {part["name"]: _pinned_view(registry, part) for part in spec["views"]}
    features = [_pinned_feature(registry, part, views, spec["full_names"]) for part in spec["features"]]
    selection = Selection(tuple(features), spec["full_names"])
    lag = parse_duration(spec["lag"] or "0s")
    return Query(selection, spec["timestamp"], checked_label(spec["label"]), lag, dict(spec["snapshots"]))


def moments(table: pa.Table, query: Query) -> pa.ChunkedArray:
    """Return the moment at which each row is looked up, `timestamp[us, UTC]`: its own, shifted back by the lag."""
    import pyarrow.compute as pc

    times = to_utc_micros(table[query.timestamp], query.timestamp, "down")
    if not query.lag:
        return times
    return pc.subtract(times.cast(pa.int64()), duration_micros(query.lag)).cast(times.type)


def _feature_spec(feature: SelectedFeature) -> dict[str, Any]:
    """Return what pins a feature; of a computed one, also what it reads."""
    more = {"keys": dict(feature.keys), "reads": reads_of(feature.computation)}
    return {
        "ref": f"{feature.view.name}.{feature.name}:v{feature.view.version}",
        "column": feature.column,
        "digest": feature.view.digest,
        **{name: value for name, value in more.items() if value},
    }


def _pinned_feature(
    registry: Registry, part: Mapping[str, Any], views: Mapping[str, FeatureView], full_names: bool
) -> SelectedFeature:
    name, _, feature = part["ref"].rpartition(":v")[0].partition(".")
    keys = part.get("keys", {})
    if name in views:
        return SelectedFeature(views[name], feature, part["column"], tuple(sorted(keys.items())))
    asked = pinned_as(part["ref"], part["column"], keys, full_names, part.get("reads"))
    (found,) = select(registry, [asked], full_names=full_names).features
    changed = other_meaning(part, found)
    if changed is not None:
        ref, here, pinned = changed
        raise UnknownReferenceError(
            f"{ref!r} has digest {here[:12]} here, but the training set was made from {pinned[:12]}. Open the store it "
            "was made in."
        )
    return found


def _view_spec(view: FeatureView) -> dict[str, Any]:
    content = view.content()
    return {
        "name": view.name,
        "version": view.version,
        "digest": view.digest,
        "keys": {key: dict(e["keys"])[key] for e in content["entities"] for key in dict(e["keys"])},
        "lag": content["lag"],
        "ttl": content["ttl"],
    }


def _pinned_view(registry: Registry, part: Mapping[str, Any]) -> FeatureView:
    from fs_core.definitions import VersionSelector

    view = registry.view(part["name"], VersionSelector(version=part["version"]))
    if view.digest != part["digest"]:
        raise UnknownReferenceError(
            f"view {view.ref!r} has digest {view.digest[:12]} here, but the training set was made from "
            f"{part['digest'][:12]}. Open the store it was made in."
        )
    return view
