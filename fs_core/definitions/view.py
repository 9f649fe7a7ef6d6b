"""Feature views: fields of one entity that come from one source and share its clocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import pyarrow as pa

from fs_core.definitions.aggregation import Aggregation
from fs_core.definitions.base import (
    Definition,
    check_flag,
    check_name,
    check_text,
    check_unique,
    check_version,
    freeze,
)
from fs_core.definitions.entity import Entity
from fs_core.definitions.field import Field
from fs_core.definitions.on_demand import OnDemandView
from fs_core.definitions.source import SQL, Source
from fs_core.definitions.stream import StreamSource
from fs_core.errors import DefinitionError, NotOnlineError, did_you_mean
from fs_core.values import dtypes
from fs_core.values.schedule import Schedule
from fs_core.values.times import duration_micros, format_duration, parse_duration

CLOCKS = ("event_timestamp", "available_at")
"""What references call the times of the row that a view finds, where it has no feature of that name."""

ODD_ROWS = {"refuse": "refuse the write", "quarantine": "go into quarantine"}
"""What may happen to rows that break a view's checks, or what its fields declare: `on_violation`, and for people."""

ALONE = "__alone"
"""The key column of a view without an entity: 0 in each of its rows. Nobody brings it."""


@dataclass(frozen=True, eq=False)
class FeatureView(Definition):
    """Fields of one entity (or several: a composite key) that come from one source.

    Args:
        name: how references name it; no `__` inside and no `_` at its end.
        entity: the entity, or a list of entities whose keys together are the key; None for a view with one row
            for all, such as exchange rates.
        version: `major.minor.patch`; a registered version never changes.
        fields: the features; with `aggregations`, the columns of an event.
        source: an `SQL` query, a `Source` whose columns carry the fields' names, a `StreamSource` to ingest from, or
            None for a view that is only written and pushed to.
        event_timestamp: the column that says when a fact became true.
        available_at: the column that says when the system could first have used it; None where that
            is the event time.
        lag: how long after its event time a fact is available at the earliest.
        ttl: how long a fact stays usable; None for ever.
        online: whether the view is served online; offline-only views cost no online memory.
        online_history: how far back online reads `at` a moment are answered without history; the rows of
            that time are kept online as well. None keeps the latest row alone.
        event_id: names of fields that identify an event, for a view with aggregations: of several rows with the
            same entity and id, the last by the rule counts, so a retry doesn't count twice and a correction replaces.
        aggregations: what the view says of the events in windows. They are its features then, and each row that is
            written is an event, of which `fields` are the columns.
        transforms: on-demand views with `when="write"` that take columns of this view: as a row is written, their
            fields are computed from it and stored beside its own, those of one transform after the other. A row's
            inputs and what was computed from them are always of one piece of code: another is another version.
        schedule: when `fs run` keeps the view up to date, such as `"1h"`; a `Schedule` says more. None for never.
        checks: SQL over the columns that a row brings, such as `["paid <= total"]`. As in a database, a row breaks a
            check where it is false, not where it is null; or where it can't be evaluated.
        on_violation: what happens to rows that break a check or what a field declares: `"refuse"` the whole write, or
            `"quarantine"`: they are quarantined with the reason, and the others are written.

    Raises:
        DefinitionError: names clash, an entity or field is missing, a duration doesn't parse.
    """

    kind: ClassVar[str] = "view"

    name: str
    entity: Entity | Sequence[Entity] | None
    fields: Sequence[Field]
    version: str = "1.0.0"
    source: SQL | Source | StreamSource | None = None
    event_timestamp: str = "event_timestamp"
    available_at: str | None = None
    lag: timedelta | str = timedelta(0)
    ttl: timedelta | str | None = None
    online: bool = True
    online_history: timedelta | str | None = None
    event_id: Sequence[str] = ()
    aggregations: Sequence[Aggregation] = ()
    transforms: Sequence[OnDemandView] = ()
    schedule: Schedule | timedelta | str | None = None
    checks: Sequence[str] = ()
    on_violation: str = "refuse"
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        what = f"view {self.name!r}"
        check_name(self.name, "view", joinable=True)
        check_version(self.version, what)
        self._check_documentation(what)
        check_flag(what, online=self.online)
        freeze(
            self,
            entity=_entities(self.entity, what),
            fields=_fields(self.fields, what),
            lag=parse_duration(self.lag, f"{what}: lag"),
            ttl=None if self.ttl is None else parse_duration(self.ttl, f"{what}: ttl"),
        )
        if self.ttl == timedelta(0):
            raise DefinitionError(f"{what}: with ttl='0s' every row is expired at once. Use None for no expiry.")
        if self.ttl is not None and parse_duration(self.ttl) <= parse_duration(self.lag):
            raise DefinitionError(
                f"{what}: with ttl={format_duration(parse_duration(self.ttl))!r} and "
                f"lag={format_duration(parse_duration(self.lag))!r} every row is expired before it is available. "
                "Declare a longer ttl, or None for no expiry."
            )
        self._check_online_history(what)
        freeze(self, schedule=Schedule.of(self.schedule, what))
        if self.source is not None and not isinstance(self.source, SQL | Source | StreamSource):
            raise DefinitionError(
                f"{what}: source is {self.source!r}; pass SQL('SELECT ...'), a Source or None, or a StreamSource."
            )
        times = [check_name(self.event_timestamp, f"{what}: event_timestamp")]
        if self.available_at is not None and self.available_at != self.event_timestamp:
            times.append(check_name(self.available_at, f"{what}: available_at"))
        freeze(self, transforms=_transforms(self, what))
        check_unique([*self.keys, *times, *(f.name for f in self.kept)], what)
        freeze(self, event_id=_event_id(self.event_id, what), aggregations=_aggregations(self.aggregations, what))
        self._check_aggregations(what)
        self._check_schedule(what)
        freeze(self, checks=_checks(self.checks, what))
        if self.on_violation not in ODD_ROWS:
            raise DefinitionError(f"{what}: on_violation is {self.on_violation!r}; say 'refuse' or 'quarantine'.")

    def _check_schedule(self, what: str) -> None:
        schedule = self.scheduled
        if schedule is None:
            return
        if not self.is_backfilled and not self.online and schedule.reference is None:
            raise DefinitionError(
                f"{what}: its schedule has nothing to do: there is no source to run, it isn't online, and the schedule "
                "names no reference to monitor against. Leave the schedule out."
            )
        if schedule.lookback is not None and not self.is_backfilled:
            raise DefinitionError(f"{what}: the schedule's lookback is for a source that is run; leave it out.")

    def _check_aggregations(self, what: str) -> None:
        for name in self.event_id:
            if name not in self.stored:
                raise DefinitionError(f"{what}: event_id {name!r} is no field.{did_you_mean(name, self.stored)}")
            if not dtypes.is_key_type(self.stored[name]):
                raise DefinitionError(f"{what}: event_id {name!r} is {self.stored[name]}, whose equality is not exact.")
        if not self.aggregations:
            if self.event_id:
                raise DefinitionError(f"{what}: event_id is for views with aggregations; leave it out.")
            return
        if self.ttl is not None:
            raise DefinitionError(f"{what}: leave ttl out; with aggregations, windows expire by themselves.")
        taken = {name.lower(): (name, "a key") for name in self.keys}
        taken |= {name.lower(): (name, "a field") for name in self.stored}
        for aggregation in self.aggregations:
            aggregation.take_names(taken, f"{what}: aggregations")
            aggregation.output_type(self.stored, what)

    def _check_online_history(self, what: str) -> None:
        if self.online_history is None:
            return
        kept = parse_duration(self.online_history, f"{what}: online_history")
        freeze(self, online_history=kept)
        if not self.online or kept == timedelta(0):
            raise DefinitionError(f"{what}: online_history={self.online_history!r} keeps nothing; leave it out.")
        if self.ttl is not None and kept > timedelta(days=1):
            raise DefinitionError(
                f"{what}: with a ttl, online_history is one day at most: rows that expired longer ago are collected."
            )

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities: one, several, or none."""
        return self.entity  # type: ignore[return-value]  # frozen into a tuple above

    @property
    def scheduled(self) -> Schedule | None:
        """The schedule, as declared or made of its text."""
        return self.schedule  # type: ignore[return-value]  # made one above

    @property
    def is_backfilled(self) -> bool:
        """Whether there is a source to run; a stream is taken by `ingest`."""
        return isinstance(self.source, SQL | Source)

    @cached_property
    def keys(self) -> Mapping[str, pa.DataType]:
        """The key columns, in order: name to Arrow type. Without an entity, a column that is the same in every row."""
        if not self.entities:
            return MappingProxyType({ALONE: pa.int8()})
        return self.request_keys

    @cached_property
    def request_keys(self) -> Mapping[str, pa.DataType]:
        """The key columns that rows and requests bring, in order: name to Arrow type. None without an entity."""
        found = {key: dtypes.resolve(dtype) for entity in self.entities for key, dtype in entity.keys.items()}
        return MappingProxyType(found)

    @cached_property
    def kept(self) -> tuple[Field, ...]:
        """The columns that history keeps beside keys and clocks: rows bring some, some are computed from these."""
        return (*self.fields, *(f for transform in self.transforms for f in transform.fields))

    @cached_property
    def written(self) -> Mapping[str, pa.DataType]:
        """The columns that rows bring beside keys and clocks, in order: name to Arrow type."""
        return MappingProxyType({f.name: f.type for f in self.fields})

    @cached_property
    def stored(self) -> Mapping[str, pa.DataType]:
        """The columns that history keeps beside keys and clocks, in order: name to Arrow type."""
        return MappingProxyType({f.name: f.type for f in self.kept})

    @cached_property
    def features(self) -> Mapping[str, pa.DataType]:
        """The feature columns, in order: name to Arrow type. With aggregations, these; else what is stored."""
        return MappingProxyType({f.name: f.type for f in self.outputs})

    @cached_property
    def outputs(self) -> tuple[Field, ...]:
        """The features as fields, with descriptions: the view's own, or its aggregations'."""
        if not self.aggregations:
            return self.kept
        what = f"view {self.name!r}"
        return tuple(
            Field(column, aggregation.output_type(self.stored, what), aggregation.describe(window))
            for aggregation in self.aggregations
            for column, window in zip(aggregation.columns, aggregation.windows, strict=True)
        )

    @cached_property
    def clocks(self) -> tuple[str, ...]:
        """Those of `CLOCKS` that references to this view may name. Windows hold many rows, so they have no times."""
        return () if self.aggregations else tuple(name for name in CLOCKS if name not in self.features)

    @property
    def lag_micros(self) -> int:
        """The lag in microseconds."""
        return duration_micros(parse_duration(self.lag))

    @property
    def ttl_micros(self) -> int | None:
        """The ttl in microseconds, or None for ever."""
        return None if self.ttl is None else duration_micros(parse_duration(self.ttl))

    @property
    def online_history_micros(self) -> int | None:
        """How long recent rows are kept online, in microseconds; None where only the latest is."""
        return None if self.online_history is None else duration_micros(parse_duration(self.online_history))

    @cached_property
    def storage_name(self) -> str:
        """The name under which back-ends keep this view's rows: one for each meaning.

        It carries the digest rather than the version, so a version that only mends the documentation
        keeps its rows.
        """
        return f"{self.name}-{self.digest[:16]}"

    def require_online(self) -> None:
        """Raise `NotOnlineError` unless the view is kept online."""
        if not self.online:
            raise NotOnlineError(
                f"view {self.ref!r} is declared with online=False. Declare online=True in a new version to serve it."
            )

    def content(self) -> dict[str, Any]:
        """Return keys, fields with ranges, source, the rule's parameters, and aggregations and checks if any."""
        windows: dict[str, Any] = {
            "event_id": list(self.event_id),
            "aggregations": [aggregation.content() for aggregation in self.aggregations],
        }
        return {
            "entities": [{"name": e.name, **e.content()} for e in self.entities],
            "fields": [f.content() for f in self.fields],
            "source": _source_content(self.source),
            "event_timestamp": self.event_timestamp,
            "available_at": self.available_at,
            "lag": format_duration(parse_duration(self.lag)),
            "ttl": None if self.ttl is None else format_duration(parse_duration(self.ttl)),
            **(windows if self.aggregations else {}),
            **({"transforms": [{"name": t.name, **t.content()} for t in self.transforms]} if self.transforms else {}),
            **({"checks": list(self.checks)} if self.checks else {}),
        }

    def documentation(self) -> dict[str, Any]:
        """Return what people read, and how the view is served, kept up and kept clean: none of it changes a value."""
        fields = {f.name: f.description for f in self.kept}
        transforms = {transform.name: transform.description for transform in self.transforms}
        rates = {f.name: f.max_null_rate for f in self.fields if f.max_null_rate is not None}
        kept = None if self.online_history is None else format_duration(parse_duration(self.online_history))
        recent = {} if kept is None else {"online_history": kept}
        return {
            **super().documentation(),
            "fields": fields,
            "online": self.online,
            **recent,
            **({"null_rates": rates} if rates else {}),
            **({"transforms": transforms} if transforms else {}),
            **({} if self.scheduled is None else {"schedule": self.scheduled.plain()}),
            **({} if self.on_violation == "refuse" else {"on_violation": self.on_violation}),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the whole definition, and what its transforms were tried with, if they were."""
        tried = {t.name: dict(t.tried) for t in self.transforms if t.tried is not None}
        return {**super().to_dict(), **({"tried": tried} if tried else {})}

    @cached_property
    def _text(self) -> str:
        """What is compared: all but what transforms were tried with."""
        return json.dumps(super().to_dict(), sort_keys=True)


def _entities(entity: Entity | Sequence[Entity] | None, what: str) -> tuple[Entity, ...]:
    if entity is None:
        return ()
    entities = (entity,) if isinstance(entity, Entity) else tuple(entity) if isinstance(entity, list | tuple) else ()
    if not entities or not all(isinstance(e, Entity) for e in entities):
        raise DefinitionError(
            f"{what}: entity is {entity!r}; pass an Entity, a list of them, or None for one row for all."
        )
    check_unique((e.name for e in entities), f"{what}: its entities")
    check_unique((key for e in entities for key in e.keys), f"{what}: keys of its entities")
    return entities


def _fields(fields: Sequence[Field], what: str) -> tuple[Field, ...]:
    found = tuple(fields) if isinstance(fields, list | tuple) else ()
    if not found or not all(isinstance(f, Field) for f in found):
        raise DefinitionError(f"{what}: fields is {fields!r}; pass a list with at least one Field.")
    return found


def _transforms(view: FeatureView, what: str) -> tuple[OnDemandView, ...]:
    """Return a view's transforms; refuse one that isn't computed from the columns of rows and of those before it."""
    given = view.transforms
    if not isinstance(given, list | tuple) or not all(isinstance(one, OnDemandView) for one in given):
        raise DefinitionError(f"{what}: transforms is {given!r}; pass a list of on-demand views with when='write'.")
    check_unique([transform.name for transform in given], f"{what}: transforms")
    known = {f.name for f in view.fields}
    for transform in given:
        if transform.origin is None:
            raise DefinitionError(
                f"{what}: transform {transform.name!r} is computed when features are read. Declare it with "
                "when='write', or leave it out and apply it beside the view."
            )
        if transform.origin != view.name:
            raise DefinitionError(f"{what}: transform {transform.name!r} takes columns of view {transform.origin!r}.")
        for column in transform.columns:
            if column not in known:
                raise DefinitionError(
                    f"{what}: transform {transform.name!r} takes {column!r}, which is neither a field nor computed by "
                    f"a transform before it.{did_you_mean(column, known)}"
                )
        known |= set(transform.features)
    return tuple(given)


def _event_id(names: Any, what: str) -> tuple[str, ...]:
    found = [names] if isinstance(names, str) else names
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise DefinitionError(f"{what}: event_id is {names!r}; pass a list of fields' names.")
    check_unique(found, f"{what}: event_id")
    return tuple(found)


def _aggregations(aggregations: Any, what: str) -> tuple[Aggregation, ...]:
    if not isinstance(aggregations, list | tuple) or not all(isinstance(a, Aggregation) for a in aggregations):
        raise DefinitionError(f"{what}: aggregations is {aggregations!r}; pass a list of Aggregation.")
    return tuple(aggregations)


def _checks(checks: Any, what: str) -> tuple[str, ...]:
    """Return checks sorted, so that their order is no part of the digest."""
    found = [checks] if isinstance(checks, str) else checks
    if not isinstance(found, list | tuple) or not all(isinstance(c, str) and c.strip() for c in found):
        raise DefinitionError(f"{what}: checks is {checks!r}; pass a list of SQL conditions, such as ['amount > 0'].")
    for check in found:
        check_text(what, **{"a check": check})
    return tuple(sorted(set(found)))


def _source_content(source: SQL | Source | StreamSource | None) -> dict[str, str] | None:
    if source is None:
        return None
    return {"sql": source.query} if isinstance(source, SQL) else {"source": source.name}
