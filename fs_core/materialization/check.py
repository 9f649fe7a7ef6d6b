"""Comparing the rows that an online store holds of a view with the rule, and mending what differs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.materialization.retract import Delivery, knows, lacking
from fs_core.online.contract import ORDER, OnlineRows, timeline_name
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.keys import unpack_keys
from fs_core.online.row.recent import Timelines
from fs_core.runtime.progress_bar import progress
from fs_core.values.times import MICROSECONDS

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore

SUSPECTS = 100_000  # looked at again together: each look searches history once
_SETTLING_SECONDS = 0.05  # how long a row that was just written to history may take to come online


class RowProblem(StrEnum):
    """How an online row can differ from what the rule says."""

    MISSING = "missing"
    """History has a row for the entity, the online store has none."""
    STALE = "stale"
    """The online row is older than the one that wins, or events are missing."""
    WRONG = "wrong"
    """The online row has the winner's order, but other bytes; or events are missing and others too many."""
    AHEAD = "ahead"
    """The online row beats the winner, but history has no such row available; or such an event."""
    UNKNOWN = "unknown"
    """The online store has a row of an entity that history doesn't know, or, among an entity's recent rows, one."""
    CORRUPT = "corrupt"
    """The online row, or its key, or the recent rows are damaged or of another schema."""


class Check:
    """One comparison on its way.

    Args:
        view: whose rows.
        offline: history.
        online: the online store.
        now: returns the present moment, microseconds.
        repair: whether what differs is mended.
        evidence: how many differences to keep as rows.

    Attributes:
        counts: for each kind of difference, how many rows have it.
        evidence: the first differences.
        repaired: how many were mended.
        schema: of the evidence.
    """

    def __init__(
        self,
        view: FeatureView,
        offline: OfflineStore,
        online: OnlineStore,
        now: Callable[[], int],
        repair: bool,
        evidence: int,
    ) -> None:
        self._view, self._offline, self._online = view, offline, online
        self._now, self._repair, self._wanted = now, repair, evidence
        self._codec = RowCodec(view)
        self.counts: Counter[RowProblem] = Counter()
        self.evidence: list[dict[str, Any]] = []
        self.repaired = 0
        clocks = [("__event_time", MICROSECONDS), ("__seq", pa.int64())]
        clocks += [("__online_event_time", MICROSECONDS), ("__online_seq", pa.int64())]
        self.schema = pa.schema([*view.keys.items(), ("__problem", pa.string()), *clocks, ("__key", pa.binary())])

    def history_against_online(self) -> int:
        """Look for the online row of each entity that history knows; return how many those are."""
        run = self._offline.winners(self._view, until=self._now())
        suspects: list[bytes] = []
        with progress(f"verify {self._view.name}", run.total) as advance:
            for batch in run.rows:
                expected = self._codec.encode(pa.Table.from_batches([batch]))
                suspects += _unequal(expected, self._read(expected.keys))
                if len(suspects) >= SUSPECTS:
                    self._look_again(suspects)
                    suspects = []
                advance(batch.num_rows)
        self._look_again(suspects)
        return run.total

    def online_against_history(self) -> int:
        """Look for the history of each entity that is online; return how many rows those are."""
        rows, suspects, until = 0, list[bytes](), self._now()
        for part in self._online.scan(self._view.storage_name):
            rows += len(part)
            keys, sound = unpack_keys(self._view.keys, part.keys)
            known = sound & knows(self._view, self._offline, keys, until)
            suspects += [part.keys[index] for index in np.flatnonzero(~known).tolist()]
            if len(suspects) >= SUSPECTS:
                self._look_again(suspects)
                suspects = []
        self._look_again(suspects)
        return rows

    def timelines_against_history(self) -> None:
        """Look in history for the recent rows of each entity; to repair, delete timelines that hold others."""
        name = timeline_name(self._view.storage_name)
        for part in self._online.scan(name):
            flaws = self._flaws(part)
            if not flaws:
                continue
            time.sleep(_SETTLING_SECONDS)  # who forgets an entity deletes them after it has left history
            held = self._online.read([(name, list(flaws))])[0]
            left = [
                (key, row) for key, row in zip(flaws, held, strict=True) if row is not None and row == flaws[key][0]
            ]
            self._report([(key, *flaws[key][1:]) for key, _ in left], {})
            if self._repair:
                self._online.delete(name, [key for key, _ in left], [timeline for _, timeline in left])
                self.repaired += len(left)

    def _flaws(self, part: OnlineRows) -> dict[bytes, tuple[bytes, bytes, RowProblem]]:
        """Return by key those of some timelines that aren't right, with a row that isn't, and what is wrong with it."""
        parsed = map(Timelines(self._view).parsed, part.keys, part.rows)
        entries = [None if known is None else known[1] for known in parsed]
        keys = [key for key, found in zip(part.keys, entries, strict=True) for _ in found or ()]
        rows = [row for found in entries for row in found or ()]
        damaged = set(self._codec.decode(keys, rows).corrupt)
        bad = {key: (b"", RowProblem.CORRUPT) for key, found in zip(part.keys, entries, strict=True) if found is None}
        bad |= {keys[index]: (rows[index], RowProblem.CORRUPT) for index in damaged}
        sound = [index for index in range(len(rows)) if index not in damaged]
        gone = lacking(self._view, self._offline, OnlineRows([keys[i] for i in sound], [rows[i] for i in sound]))
        bad |= {key: (row, RowProblem.UNKNOWN) for key, row in zip(gone.keys, gone.rows, strict=True)}
        return {key: (timeline, *bad[key]) for key, timeline in zip(part.keys, part.rows, strict=True) if key in bad}

    def _look_again(self, keys: list[bytes]) -> None:
        """Count, show and repair those suspects that differ from history, which is read after and before them."""
        if not keys:
            return
        delivery = Delivery(self._view, self._offline, self._online, self._now) if self._repair else None
        before = self._read(keys)
        expected = self._expected(keys, self._now())
        time.sleep(_SETTLING_SECONDS)
        after = self._read(keys)
        early = self._early(keys, before)
        found: list[tuple[bytes, bytes | None, RowProblem]] = []
        for key, first, held in zip(keys, before, after, strict=True):
            problem = self._problem(key, held, expected.get(key))
            if first == held and problem is not None and (held is None or early.get(key) != held):
                found.append((key, held, problem))
        self._report(found, expected)
        if delivery is not None:
            self._mend(found, expected, delivery)

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._online.read([(self._view.storage_name, keys)])[0]

    def _expected(self, keys: list[bytes], until: int) -> dict[bytes, tuple[bytes, int | None]]:
        """Return the packed row that wins, and when it may be collected, of those entities that have one."""
        table, sound = unpack_keys(self._view.keys, keys)
        run = self._offline.winners(self._view, until=until, entities=table.filter(pa.array(sound)))
        found = {}
        for batch in run.rows:
            for write in self._codec.encode(pa.Table.from_batches([batch])):
                found[write.key] = (write.row, write.collect_at)
        return found

    def _early(self, keys: list[bytes], held: list[bytes | None]) -> dict[bytes, bytes]:
        """Return what wins at the moment from which a row is available that a clock ahead of ours has sent."""
        available_at = self._codec.decode(keys, held).available_at
        late = np.flatnonzero(available_at > self._now())
        if not len(late):
            return {}
        return {key: row for key, (row, _) in self._expected([keys[i] for i in late], int(available_at.max())).items()}

    def _problem(self, key: bytes, held: bytes | None, expected: tuple[bytes, int | None] | None) -> RowProblem | None:
        if held is None:
            return None if expected is None or _may_be_collected(expected[1]) else RowProblem.MISSING
        if self._codec.decode([key], [held]).corrupt:
            return RowProblem.CORRUPT
        if expected is None:
            return RowProblem.UNKNOWN
        if held[ORDER] == expected[0][ORDER]:
            return None if held == expected[0] else RowProblem.WRONG
        return RowProblem.STALE if held[ORDER] < expected[0][ORDER] else RowProblem.AHEAD

    def _report(self, found: list[tuple[bytes, bytes | None, RowProblem]], expected: Mapping[bytes, Any]) -> None:
        self.counts.update(problem for _, _, problem in found)
        for key, held, problem in found[: max(0, self._wanted - len(self.evidence))]:
            row: dict[str, Any] = unpack_keys(self._view.keys, [key])[0].to_pylist()[0]
            for prefix, packed in (("__", expected.get(key, (None,))[0]), ("__online_", held)):
                newest = self._newest(key, packed)
                if newest is not None:
                    row |= {f"{prefix}event_time": newest[0], f"{prefix}seq": newest[1]}
            self.evidence.append({**row, "__problem": str(problem), "__key": key})

    def _newest(self, key: bytes, packed: bytes | None) -> tuple[int, int] | None:
        """Return the event time and seq of a row, or of the last event of a value; None where there is none."""
        order = self._codec.decode([key], [packed])
        return (int(order.event_time[0]), int(order.seq[0])) if order.found[0] else None

    def _mend(
        self, found: list[tuple[bytes, bytes | None, RowProblem]], expected: Mapping[bytes, Any], delivery: Delivery
    ) -> None:
        """Delete and write what differs, and take back what was forgotten meanwhile."""
        name = self._view.storage_name
        bad = [(key, held) for key, held, problem in found if held is not None and problem is not RowProblem.STALE]
        if bad:
            self._online.delete(name, [key for key, _ in bad], [held for _, held in bad])
        good = [(key, *expected[key]) for key, _, _ in found if key in expected]
        keys, rows, moments = zip(*good, strict=True) if good else ((), (), ())
        written = OnlineRows(keys, rows, moments)
        with delivery.settled(lambda: [written]):
            if good:
                # Into no timeline: earlier rows may be missing there too, and only `materialize` brings those.
                self._online.write(name, written)
        self.repaired += len(found)


def _unequal(expected: OnlineRows, held: list[bytes | None]) -> Iterator[bytes]:
    for key, row, other in zip(expected.keys, expected.rows, held, strict=True):
        if row != other:
            yield key


def _may_be_collected(moment: int | None) -> bool:
    """Return whether a server may have deleted a row, by its clock or ours."""
    return moment is not None and moment <= time.time_ns() // 10**6
