"""How a cluster's watermark is lost with the rows: witnesses of it on every node.

The watermark is one key on one node; when another node comes back empty, or a replica that lagged takes over there,
it stays. So small keys lie beside it, evenly over the slots: every 271 slots in sequence hold one. Before a watermark
is swapped, and after the rows that it speaks of were written, each witness is told of the swap; so a node that lost
some of those rows has lost a witness's word as well, for replicas take a node's writes in their order.

    watermark   LEVEL TOKEN TEXT        of the swap that wrote it
    witness     LEVEL TOKEN TOKEN...    the highest level told of, and all swaps that were tried at it

A swap's level is the one after that of the watermark that it replaces, its token is its own. A witness vouches for a
watermark if it knows its token or a higher level. It is told of a swap only if it vouches for what is replaced: so
who was the last to write never hides a loss, also where several swap at once or one of them has died.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count

from fs_core.errors import OnlineUnavailableError
from fs_core.online.redis.driver import driver
from fs_core.online.redis.job import ReadJob
from fs_core.online.redis.naming import Names
from fs_core.online.redis.reading import Reading
from fs_core.online.redis.scripts import run, run_on_nodes
from fs_core.online.redis.topology import SLOTS

log = logging.getLogger("fs_core")

WITNESSES = 64
_NEAR = 16  # slots within which a witness may lie: to find names for less would take long
_KEPT = re.compile(rb"(\d{1,15}) ([0-9a-f]{8}) (.*)", re.DOTALL)
_TOLD = re.compile(rb"(\d{1,15})((?: [0-9a-fA-F]{8})*)")  # the script `tell` takes nothing else for a word, either


@dataclass(frozen=True)
class Mark:
    """A watermark with the swap that wrote it; level 0 is of none, for one that is damaged or has no witnesses yet."""

    value: bytes
    level: int
    token: bytes
    text: bytes

    @classmethod
    def of(cls, value: bytes) -> Mark:
        """Return a watermark from what is kept."""
        kept = _KEPT.fullmatch(value)
        return cls(value, int(kept[1]), kept[2], kept[3]) if kept else cls(value, 0, b"", value)

    @classmethod
    def new(cls, level: int, text: bytes) -> Mark:
        """Return another swap's."""
        return cls.of(b"%d %s %s" % (level, secrets.token_hex(4).encode(), text))

    def vouched_by(self, witness: bytes | None) -> bool:
        """Tell whether a witness vouches for it, as the script `tell` does."""
        level, tokens = _told(witness)
        return level > self.level or (level == self.level and self.token in tokens)


class Witnessing(Reading):
    """Watermarks on a cluster."""

    def _attested(self, view: str) -> tuple[Mark | None, list[bytes], int]:
        """Return what is kept, the names of witnesses that don't vouch for it, and the highest level they know.

        One round trip, as long as nothing is lost. A witness on a node that doesn't answer says nothing.
        """
        value, witnesses = self._kept(view)
        mark = None if value is None else Mark.of(value)
        lost = _silent(mark, witnesses)
        if lost:  # or they were asked before a swap, and the watermark after it: what they say now is later
            _, witnesses = self._kept(view)
            lost = _silent(mark, witnesses)
        return mark, lost, max((_told(witness)[0] for witness in witnesses.values()), default=0)

    def _swap_attested(self, view: str, held: bytes, text: bytes) -> bool:
        """Swap a watermark, none where `held` is empty."""
        while True:
            mark, lost, highest = self._attested(view)
            if mark is not None and lost and not held:
                self._disown(view, mark, lost)
                continue
            base = mark or Mark.of(b"")
            if lost or base.text != held:
                return False
            # Witnesses are ahead by two where a watermark was lost alone, or where others have swapped since it was
            # read. Those mustn't be told of a level above that of the others' watermark, to vouch for it everywhere.
            if highest > base.level + 1 and (self._kept(view)[0] or b"") != base.value:
                continue
            new = Mark.new(max(base.level + 1, highest), text)
            words = (base.level, base.token, new.level, new.token)
            told = run_on_nodes(self._client, "tell", [([name], words) for name in self._witnesses(view)])
            agreed = all(0 <= level <= new.level for level in told)
            if agreed and run(self._client, "swap", [([self._names.watermark(view)], [base.value, new.value])]):
                return True

    def _witnesses(self, view: str) -> list[bytes]:
        return [self._names.witness(view, tag) for tag in tags()]

    def _disown(self, view: str, mark: Mark, lost: Sequence[bytes]) -> None:
        """Delete a watermark whose rows were lost, unless it has changed."""
        if run(self._client, "delete", [([self._names.watermark(view)], [mark.value])]):
            nodes = [f"{node[0]}:{node[1]}" for node in self._transport.topology.route(lost) if node is not None]
            log.warning(
                "the online store %s: its node %s lost rows of %s: it was restarted without them, a replica that "
                "lagged took over, or somebody dropped the view as a run began. The next materialize sends all again.",
                self._name,
                " and ".join(nodes),
                view,
            )

    def _kept(self, view: str) -> tuple[bytes | None, Mapping[bytes, bytes | None]]:
        """Return a watermark as it is kept, and each witness whose node answers by its name."""
        names = [self._names.watermark(view), *self._witnesses(view)]
        transport = self._transport
        ends = time.monotonic() + self._timeout
        job = ReadJob(_GivenNames(str(self._settings["project"])), [("", names)], transport.topology, ends)
        try:
            (values,) = self._run(transport, job, None)
        except OnlineUnavailableError as error:
            if error.partial is None or error.partial.unread[0] is None or error.partial.unread[0][0]:
                raise
            values, unread = error.partial.rows[0], error.partial.unread[0]
            return values[0], {names[i]: values[i] for i in range(1, len(names)) if not unread[i]}
        return values[0], dict(zip(names[1:], values[1:], strict=True))


class _GivenNames(Names):
    """Names that are given in place of keys."""

    def rows(self, keys: Sequence[bytes], view: str) -> list[bytes]:
        """Return the keys."""
        del view
        return list(keys)


@cache
def tags() -> tuple[bytes, ...]:
    """Return hash tags, small numbers, of slots that lie evenly, in their order."""
    slot_of, found, apart = driver().crc.key_slot, dict[int, bytes](), SLOTS // WITNESSES
    for number in count():
        tag = b"%d" % number
        place, beyond = divmod(slot_of(tag), apart)
        if beyond < _NEAR:
            found.setdefault(place, tag)
            if len(found) == WITNESSES:
                break
    return tuple(found[place] for place in sorted(found))


def _silent(mark: Mark | None, witnesses: Mapping[bytes, bytes | None]) -> list[bytes]:
    return [] if mark is None else [name for name, witness in witnesses.items() if not mark.vouched_by(witness)]


def _told(witness: bytes | None) -> tuple[int, Sequence[bytes]]:
    """Return the level that a witness was told of and the swaps at it; of one that is missing or damaged, none."""
    told = _TOLD.fullmatch(witness or b"")
    return (int(told[1]), told[2].split()) if told else (0, [b""])
