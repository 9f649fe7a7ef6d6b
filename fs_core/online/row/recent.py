"""An entity's recent rows, kept beside its latest, from which a moment in the past is answered by the rule.

    bytes 0-8     floor: microseconds, big-endian, sign bit flipped
    bytes 8-16    the floor with every bit flipped, so that damage shows
    bytes 16-20   how many entries follow, big-endian
    then          entries: a packed row's length, 4 bytes, big-endian, and the row, in any order

For a moment at or after the floor the winner is the greatest, by order, of the entries available by then;
for an earlier one only history can answer. Of the entries available by a writer's horizon only the greatest
stays, which moves the floor up to it. `fs_core/online/redis/compare_and_set.lua` does the same on a server.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView
from fs_core.online.contract import AVAILABLE, ORDER, Recent

if TYPE_CHECKING:
    from fs_core.online.row.codec import RowCodec

_HEAD = struct.Struct(">8s8sI")
_LENGTH = struct.Struct(">I")
_SIGN = 1 << 63


def recent_of(view: FeatureView, moment: int, *, complete: bool) -> Recent | None:
    """Return how rows of a view are kept at a moment, None where only the latest is.

    Args:
        view: whose rows they are.
        moment: the moment of the write, int64 microseconds.
        complete: as in `Recent`.
    """
    keep = view.online_history_micros
    return None if keep is None else Recent(moment - keep, keep, complete)


def merged(old: bytes | None, held: bytes | None, row: bytes, recent: Recent) -> bytes:
    """Return an entity's timeline after a row has come.

    Args:
        old: its timeline until now, if it has one.
        held: its latest row until now, if it has one; without a timeline that one is all that is known,
            and from when it was available.
        row: the row that has come.
        recent: how rows are kept.
    """
    horizon, before = moment_word(recent.horizon), None if old is None else _parsed(old)
    if before is not None and not _lacks(before[1], held):
        floor, entries = before[0], {entry[ORDER]: entry for entry in before[1]}
    elif held is not None and len(held) >= ORDER.stop:
        floor, entries = held[AVAILABLE], {held[ORDER]: held}
    else:
        floor, entries = horizon if recent.complete else row[AVAILABLE], {}
    entries[row[ORDER]] = row
    base = max((order for order, entry in entries.items() if entry[AVAILABLE] <= horizon), default=b"")
    kept = [entry for order, entry in entries.items() if order >= base]
    floor = max(floor, horizon)
    head = _HEAD.pack(floor, _flipped(floor), len(kept))
    return b"".join([head, *(part for entry in kept for part in (_LENGTH.pack(len(entry)), entry))])


def entries_of(timeline: bytes) -> list[bytes] | None:
    """Return the packed rows that a timeline holds; None where its bytes make no sense."""
    known = _parsed(timeline)
    return None if known is None else known[1]


def resolve(
    codec: RowCodec,
    keys: Sequence[bytes],
    latest: Sequence[bytes | None],
    timelines: Sequence[bytes | None],
    moment: int,
) -> list[bytes | None]:
    """Return the rows that win at a moment, where that is known; elsewhere the latest, which show that it isn't.

    A timeline of which any byte is damaged says nothing.

    Args:
        codec: reads rows of the view.
        keys: the entities.
        latest: each entity's latest row, None where there is none.
        timelines: each entity's timeline, None where there is none.
        moment: the moment asked for, int64 microseconds.
    """
    asked = moment_word(moment)
    found = list(latest)
    for index, (row, timeline) in enumerate(zip(latest, timelines, strict=True)):
        if row is None or timeline is None or row[AVAILABLE] <= asked:
            continue
        known = _parsed(timeline)
        if known is None or known[0] > asked or _lacks(known[1], row) or _damaged(codec, keys[index], known[1]):
            continue
        winners = [entry for entry in known[1] if entry[AVAILABLE] <= asked]
        found[index] = max(winners, key=lambda entry: entry[ORDER], default=None)
    return found


def _damaged(codec: RowCodec, key: bytes, entries: Sequence[bytes]) -> bool:
    return bool(codec.decode([key] * len(entries), entries).corrupt)


def moment_word(micros: int) -> bytes:
    """Return a moment as rows carry it: eight bytes that compare as moments do."""
    return max(0, micros + _SIGN).to_bytes(8, "big")


def _parsed(timeline: bytes) -> tuple[bytes, list[bytes]] | None:
    """Return the floor and the entries; None where the bytes make no sense."""
    if len(timeline) < _HEAD.size:
        return None
    floor, check, count = _HEAD.unpack_from(timeline)
    entries, offset = [], _HEAD.size
    while offset + _LENGTH.size <= len(timeline):
        (length,) = _LENGTH.unpack_from(timeline, offset)
        entries.append(timeline[offset + _LENGTH.size : offset + _LENGTH.size + length])
        offset += _LENGTH.size + length
    sound = check == _flipped(floor) and count == len(entries) and offset == len(timeline)
    return (floor, entries) if sound and all(len(entry) >= ORDER.stop for entry in entries) else None


def _lacks(entries: Sequence[bytes], latest: bytes | None) -> bool:
    """Return whether the latest row came by a writer that kept no timeline: then others may have, too."""
    return latest is not None and all(entry[ORDER] < latest[ORDER] for entry in entries)


def _flipped(word: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in word)
