"""Events as rows of a plain view: the columns that aggregates and the id need of each, and how conditions judged it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView, Field
from fs_core.windows.evaluate import columns_of


@dataclass(frozen=True)
class EventRows:
    """What the rows of a view with aggregations are.

    An id of texts or bytes that no aggregate reads is there as a digest: all that it must tell is whether it is
    another's. A digest is shorter than most, and as long as any other, so that rows are, too.

    Attributes:
        plain: the view whose rows they are.
        columns: what they say, apart from the flags.
        ids: which of these tell an event from others of its entity.
        digests: the columns that stand for an id's, by its name.
        always: a flag that is set in every row, since a row has a column.
        flags: for each `where`, the flag that says whether it is true.
    """

    plain: FeatureView
    columns: tuple[str, ...]
    ids: tuple[str, ...]
    digests: Mapping[str, tuple[str, str]]
    always: str
    flags: Mapping[str, str]

    @classmethod
    def of(cls, view: FeatureView) -> EventRows:
        """Return those of a view with aggregations."""
        halves, flags = (_unused(view, start) for start in ("id", "passes"))
        digests = {name: (next(halves), next(halves)) for name in _long_ids(view)}
        ids = tuple(part for name in view.event_id for part in digests.get(name, (name,)))
        read = set(columns_of(view)) - set(digests)
        fields = [field for field in view.kept if field.name in read]
        fields += [Field(half, "int64") for pair in digests.values() for half in pair]
        always = next(flags)
        passing = {
            where: next(flags) for where in dict.fromkeys(a.where for a in view.aggregations if a.where is not None)
        }
        plain = replace(
            view,
            entity=view.entities or None,
            fields=fields + [Field(name, "bool") for name in (always, *passing.values())],
            aggregations=(),
            event_id=(),
            transforms=(),
            source=None,
            online_history=None,
            schedule=None,
        )
        return cls(plain, tuple(field.name for field in fields), ids, digests, always, passing)

    def made(self, events: pa.Table, passing: Mapping[str, Any]) -> pa.Table:
        """Return events as rows.

        Args:
            events: in `history_schema(view)`.
            passing: for each `where`, which of them it is true for.
        """
        added = {self.always: pa.repeat(True, len(events))}
        added |= {name: passing[where] for where, name in self.flags.items()}
        for name, halves in self.digests.items():
            added |= zip(halves, _digested(events[name]), strict=True)
        for name, column in added.items():
            events = events.append_column(name, column)
        return events


def _long_ids(view: FeatureView) -> list[str]:
    read = {aggregation.column for aggregation in view.aggregations}
    types = {name: view.stored[name] for name in view.event_id if name not in read}
    return [name for name, dtype in types.items() if pa.types.is_string(dtype) or pa.types.is_binary(dtype)]


def _digested(column: pa.ChunkedArray) -> list[pa.Array]:
    """Return the BLAKE2 digests of texts or bytes, 16 bytes each, as two columns of whole numbers."""
    values = column.cast(pa.binary()).to_pylist()
    data = b"".join([hashlib.blake2b(value, digest_size=16).digest() for value in values])
    return [pa.array(half) for half in np.frombuffer(data, "<i8").reshape(-1, 2).T.astype(np.int64)]


def _unused(view: FeatureView, start: str) -> Iterator[str]:
    """Yield names that the view doesn't have."""
    taken = {*view.keys, *view.stored, view.event_timestamp, view.available_at}
    return (name for name in (f"{start}_{number}" for number in range(10**6)) if name not in taken)
