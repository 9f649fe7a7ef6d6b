"""Comparing the events that an online store holds of a view with windows with history, and mending what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.materialization import event_values, events
from fs_core.materialization.check import SUSPECTS, Check, RowProblem
from fs_core.materialization.retract import Delivery, knows
from fs_core.online.contract import OnlineRows
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.keys import unpack_keys
from fs_core.runtime.progress_bar import progress


class EventCheck(Check):
    """One comparison on its way. Two values are alike if they hold the same events of those that matter from now on."""

    def history_against_online(self) -> int:
        """See `Check.history_against_online`."""
        until, entities, suspects = self._now(), 0, list[bytes]()
        run = events.live(self._view, self._offline, until=until)
        with progress(f"verify {self._view.name}", run.total) as advance:
            for table in _by_entity(self._codec, run.rows):
                expected = events.packed(self._view, table)
                entities += len(expected)
                held = self._read(expected.keys)
                alike = zip(
                    self._alike(expected.keys, expected.rows, until),
                    self._alike(expected.keys, held, until, complete=False),
                    strict=True,
                )
                suspects += [key for key, (one, other) in zip(expected.keys, alike, strict=True) if one != other]
                if len(suspects) >= SUSPECTS:
                    self._look_again(suspects)
                    suspects = []
                advance(table.num_rows)
        self._look_again(suspects)
        return entities

    def online_against_history(self) -> int:
        """See `Check.online_against_history`; deep values without another belong to nobody, and are mended.

        Where history knows the entity, it was looked for before.
        """
        until = self._now()
        for part in self._online.scan(event_values.deep_name(self._view)):
            values = self._online.read([(self._view.storage_name, part.keys)])[0]
            alone = [key for key, value in zip(part.keys, values, strict=True) if value is None]
            if not alone:
                continue
            entities, sound = unpack_keys(self._view.keys, alone)
            known = sound & knows(self._view, self._offline, entities, until)
            self._look_again([alone[index] for index in np.flatnonzero(~known).tolist()])
        return super().online_against_history()

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return event_values.compared(self._view, self._online, keys)

    def _alike(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], moment: int, *, complete: bool = True
    ) -> list[bytes | None]:
        """Return values of which those that say the same from a moment on are the same bytes.

        Args:
            keys: of the values.
            values: as packed.
            moment: microseconds.
            complete: whether those without a floor say all; else they are like no other.
        """
        return event_values.codec_of(self._view).trimmed(keys, values, moment, complete=complete)

    def _expected(self, keys: list[bytes], until: int) -> dict[bytes, tuple[bytes, int | None]]:
        """Return the value of each entity that history knows, as `_alike` has it."""
        until = max(until, events.latest(self._view, keys, self._read(keys)))
        values = events.expected_of(self._view, self._offline, keys, until)
        alike = self._alike(list(values), list(values.values()), until)
        return {key: (value or b"", None) for key, value in zip(values, alike, strict=True)}

    def _early(self, keys: list[bytes], held: list[bytes | None]) -> dict[bytes, bytes]:
        del keys, held
        return {}  # `_expected` looks as far ahead as any clock did

    def _problem(self, key: bytes, held: bytes | None, expected: tuple[bytes, int | None] | None) -> RowProblem | None:
        codec = event_values.codec_of(self._view)
        if held is None:
            return None if expected is None else RowProblem.MISSING
        found = codec.decode([key], [held])
        if held == event_values.HEADLESS:
            return RowProblem.UNKNOWN if expected is None else RowProblem.MISSING
        if found.corrupt:
            return RowProblem.CORRUPT
        if expected is None:
            return RowProblem.UNKNOWN
        wanted = codec.decode([key], [expected[0]])
        (alike,) = self._alike([key], [held], int(wanted.floors[0]))
        if alike == expected[0]:
            return RowProblem.STALE if found.bare[0] else None
        theirs, ours = (set(it.clocks[2].tolist()) for it in (codec.decode([key], [alike]), wanted))
        if theirs < ours:
            return RowProblem.STALE
        return RowProblem.AHEAD if ours < theirs else RowProblem.WRONG

    def _newest(self, key: bytes, value: bytes | None) -> tuple[int, int] | None:
        held = event_values.codec_of(self._view).decode([key], [value])
        return max(zip(held.clocks[0].tolist(), held.clocks[2].tolist(), strict=True), default=None)

    def _mend(
        self, found: list[tuple[bytes, bytes | None, RowProblem]], expected: Mapping[bytes, Any], delivery: Delivery
    ) -> None:
        """Put what history says in place of what differs, and take back what was forgotten meanwhile."""
        del expected
        keys, written = [key for key, _, _ in found], list[OnlineRows]()
        with delivery.settled(lambda: written):
            written.append(events.restore(self._view, self._offline, self._online, keys, self._now))
        self.repaired += len(found)


def _by_entity(codec: RowCodec, batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Yield a stream's rows, those of an entity together, where they come one behind the other."""
    rest = batches.schema.empty_table()
    for batch in batches:
        table = pa.concat_tables([rest, pa.Table.from_batches([batch])])
        keys = codec.keys(table)
        whole = len(keys)
        while whole and keys[whole - 1] == keys[-1]:
            whole -= 1
        if whole:
            yield table.slice(0, whole)
        rest = table.slice(whole)
    if len(rest):
        yield rest
