"""How a cluster's watermark is lost with the rows: witnesses of it on every node.

The watermark is one key on one node; when another node comes back empty, or a replica that lagged takes over there,
it stays. So small keys lie beside it, evenly over the slots: every 271 slots in sequence hold one. Before a watermark
is swapped, and after the rows that it speaks of were written, each witness records the swap; so a node that lost
some of those rows has lost a record as well, for replicas take a node's writes in their order.

    watermark   LEVEL TOKEN TEXT        of the swap that wrote it
    witness     LEVEL TOKEN TOKEN...    the highest level recorded, and all swaps that were tried at it

A swap's level is the one after that of the watermark that it replaces, its token is its own. A witness confirms a
watermark if it has its token or a higher level. It records a swap only if it confirms what is replaced: so
who was the last to write never hides a loss, also where several swap at once or one of them has died.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from fs_core.online.redis.errors import driver
from fs_core.online.redis.names import Names
from fs_core.online.redis.scripts import run, run_on_nodes
from fs_core.online.redis.topology import SLOTS

log = logging.getLogger("fs_core")

WITNESSES = 64
_NEAR = 16  # slots within which a witness may lie: to find names for less would take long
_WATERMARK = re.compile(rb"(\d{1,15}) ([0-9a-f]{8}) (.*)", re.DOTALL)
_WITNESS = re.compile(rb"(\d{1,15})((?: [0-9a-fA-F]{8})*)")  # the script `record` reads nothing else, either


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
        kept = _WATERMARK.fullmatch(value)
        return cls(value, int(kept[1]), kept[2], kept[3]) if kept else cls(value, 0, b"", value)

    @classmethod
    def new(cls, level: int, text: bytes) -> Mark:
        """Return another swap's."""
        return cls.of(b"%d %s %s" % (level, secrets.token_hex(4).encode(), text))

    def is_confirmed_by(self, witness: bytes | None) -> bool:
        """Return whether a witness confirms it, as the script `record` does."""
        level, tokens = _recorded(witness)
        return level > self.level or (level == self.level and self.token in tokens)


class ClusterWatermarks:
    """The watermarks of a project's views on a cluster.

    Args:
        store: what to call the store in the log, without credentials.
        names: the project's names.
        client: returns this process's client.
        read: returns the values of names, but of those whose node doesn't answer; it raises where the first is one.
    """

    def __init__(
        self,
        store: str,
        names: Names,
        client: Callable[[], Any],
        read: Callable[[list[bytes]], dict[bytes, bytes | None]],
    ) -> None:
        self._store, self._names, self._client, self._read = store, names, client, read

    def get(self, view: str) -> bytes | None:
        """Return the text of a view's watermark; None where there is none, or rows that it speaks of were lost."""
        mark, lost, _ = self._checked(view)
        return None if mark is None or lost else mark.text

    def swap(self, view: str, held: bytes, text: bytes) -> bool:
        """Put a text in place of another; return whether that was still there.

        Args:
            view: whose watermark.
            held: the text that must be there still, empty for none.
            text: the text that comes.
        """
        while True:
            mark, lost, highest = self._checked(view)
            if mark is not None and lost and not held:
                self._delete(view, mark, lost)
                continue
            base = mark or Mark.of(b"")
            if lost or base.text != held:
                return False
            # Witnesses are ahead by two where a watermark was lost alone, or where others have swapped since it was
            # read. Those mustn't record a level above that of the others' watermark, to confirm it everywhere.
            if highest > base.level + 1 and (self._kept(view)[0] or b"") != base.value:
                continue
            new = Mark.new(max(base.level + 1, highest), text)
            words = (base.level, base.token, new.level, new.token)
            found = run_on_nodes(self._client(), "record", [([name], words) for name in self.witnesses(view)])
            agreed = all(0 <= level <= new.level for level in found)
            if agreed and run(self._client(), "swap", [([self._names.watermark(view)], [base.value, new.value])]):
                return True

    def witnesses(self, view: str) -> list[bytes]:
        """Return the names of a view's witnesses."""
        return [self._names.witness(view, tag) for tag in tags()]

    def _checked(self, view: str) -> tuple[Mark | None, list[bytes], int]:
        """Return what is kept, the names of witnesses that don't confirm it, and the highest level they have.

        One round trip, as long as nothing is lost. A witness on a node that doesn't answer says nothing.
        """
        value, witnesses = self._kept(view)
        mark = None if value is None else Mark.of(value)
        lost = _without_record(mark, witnesses)
        if lost:  # or they were asked before a swap, and the watermark after it: what they say now is later
            _, witnesses = self._kept(view)
            lost = _without_record(mark, witnesses)
        return mark, lost, max((_recorded(witness)[0] for witness in witnesses.values()), default=0)

    def _kept(self, view: str) -> tuple[bytes | None, Mapping[bytes, bytes | None]]:
        """Return a watermark as it is kept, and each witness whose node answers by its name."""
        name = self._names.watermark(view)
        found = self._read([name, *self.witnesses(view)])
        return found.pop(name), found

    def _delete(self, view: str, mark: Mark, lost: Sequence[bytes]) -> None:
        """Delete a watermark whose rows were lost, unless it has changed."""
        client = self._client()
        if run(client, "delete", [([self._names.watermark(view)], [mark.value])]):
            nodes = dict.fromkeys(client.get_node_from_key(name).name for name in lost)
            log.warning(
                "the online store %s: its node %s lost rows of %s: it was restarted without them, a replica that "
                "lagged took over, or somebody dropped the view as a run began. The next materialize sends all again.",
                self._store,
                " and ".join(nodes),
                view,
            )


@cache
def tags() -> tuple[bytes, ...]:
    """Return hash tags, small numbers, of slots that lie evenly, in their order."""
    slot_of, found, apart = driver().crc.key_slot, dict[int, bytes](), SLOTS // WITNESSES
    for number in count():
        tag = b"%d" % number
        nth, beyond = divmod(slot_of(tag), apart)
        if beyond < _NEAR:
            found.setdefault(nth, tag)
            if len(found) == WITNESSES:
                break
    return tuple(found[nth] for nth in sorted(found))


def _without_record(mark: Mark | None, witnesses: Mapping[bytes, bytes | None]) -> list[bytes]:
    return [] if mark is None else [name for name, kept in witnesses.items() if not mark.is_confirmed_by(kept)]


def _recorded(witness: bytes | None) -> tuple[int, Sequence[bytes]]:
    """Return the level that a witness has and the swaps at it; of one that is missing or damaged, none."""
    kept = _WITNESS.fullmatch(witness or b"")
    return (int(kept[1]), kept[2].split()) if kept else (0, [b""])
