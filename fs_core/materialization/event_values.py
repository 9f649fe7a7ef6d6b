"""Values of windows in the online store: what it holds of entities, and putting something else in its place.

An entity with many events is *hot*: it has two values. Its *deep* one (under `deep_name`) has all events as of some
moment, and only who rewrites writes it. Its own value is a head and few events (`fs_core.windows.packed.head`): pushes
add to it, and reads fetch it alone as long as it answers. Who rewrites, a run of `materialize` or a push now and then,

    1  reads the value, then the deep one: together all events, for what leaves the first is in the second before
    2  replaces the deep one by all events; begins again where another has replaced it
    3  replaces the value by a head and few events; begins again where another has replaced it

Who has begun a deep value in 2, and finds in 3 that the value has changed, takes it back unless another has given the
value a head: it may have been deleted since 1, and nothing that was deleted may come again.

Whoever dies after 2 leaves a deep value that has some of the value's events as well, and a head that is as right as
before: it doesn't depend on the deep value. If there is no value any more, verification finds the deep one alone. Of
two that rewrite at once, the second to come to 2 or to 3 has read what isn't there any more. An event that is pushed
meanwhile lies behind the bytes that 3 replaces, and stays; one that a head stands for and that comes again, from a
retry or from somebody who had it in hand, is older than the head, which then doesn't answer. For a reader the order of
1 is the same. Where a hot entity's deep value is lost, a moment for which the head doesn't answer has no floor: history
must. An entity that has few events left is cold again: 3 makes its value all of them, without a head. So is the deep
value, for those who have read a head before; it is left alone until the entity is hot once more, and more is added to
it. To delete, the deep value goes first, so that who compares the values with history finds what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView
from fs_core.online.contract import timeline_name
from fs_core.online.row.entries import has_head, whole
from fs_core.windows.packed.codec import EventCodec

if TYPE_CHECKING:
    from fs_core.online.contract import OnlineStore

GRACE_MICROS = 60_000_000
"""How long past the end of its life an event is kept at least: clocks of machines differ, and reads take time."""

HOT = 200
"""From how many events on an entity becomes hot, if what stands for them is `_SHORTER` times shorter.

It stays hot until there are less than half as many.
"""

_SHORTER = 2

_PATIENCE = 30.0  # seconds that they may take to come
_UNREADABLE = b"\0"
HEADLESS = b"\1"
"""What `compared` has in place of a deep value without another: a value that nobody can read."""


@lru_cache(maxsize=1024)
def codec_of(view: FeatureView) -> EventCodec:
    """Return the codec of a view's events."""
    return EventCodec(view)


def deep_name(view: FeatureView) -> str:
    """Return the name of the view's deep values; a store takes them for timelines, which go with their rows."""
    return timeline_name(view.storage_name)


def horizon(view: FeatureView, moment: int) -> int:
    """Return from which moment on a view's online values tell, microseconds, where they are rewritten at a moment."""
    return moment - max(GRACE_MICROS, view.online_history_micros or 0)


@dataclass(frozen=True)
class FoundValues:
    """What a store held of entities.

    Attributes:
        keys: theirs.
        values: their values; nothing where there is none.
        deep: their deep values, likewise.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    deep: Sequence[bytes]

    @classmethod
    def of(cls, view: FeatureView, online: OnlineStore, keys: Sequence[bytes], *, every: bool = False) -> FoundValues:
        """Read values, then the deep ones of those with a head.

        Args:
            view: whose values.
            online: the online store.
            keys: of the entities.
            every: whether every deep value is read, of entities that have no head as well.
        """
        values = [value or b"" for value in read_values(view.storage_name, online, keys)]
        hot = [index for index, value in enumerate(values) if every or has_head(value)]
        deep = dict(zip(hot, read_values(deep_name(view), online, [keys[index] for index in hot]), strict=True))
        return cls(keys, values, [deep.get(index) or b"" for index in range(len(keys))])

    @property
    def known(self) -> list[bytes]:
        """All that is known of each entity."""
        return [whole(*both) or b"" for both in zip(self.values, self.deep, strict=True)]

    def take(self, chosen: Sequence[int]) -> FoundValues:
        """Return what was held of some of them."""
        return FoundValues(*([part[index] for index in chosen] for part in (self.keys, self.values, self.deep)))


def replace_values(
    view: FeatureView, online: OnlineStore, found: FoundValues, values: Sequence[bytes], moment: int | None
) -> list[int]:
    """Put values in place of those of entities, hot ones with their heads; return which others have changed meanwhile.

    Args:
        view: whose values.
        online: the online store.
        found: what is replaced.
        values: all that is to be known of each entity; nothing for nothing.
        moment: the present one, microseconds; None where no value may get a head.
    """
    heads = {} if moment is None else _heads(view, found, values, moment)
    deeper = {i: b"" if moment is None else values[i] for i, deep in enumerate(found.deep) if deep or i in heads}
    lengths = _splice(deep_name(view), online, found.keys, found.deep, deeper)
    ready = {i: heads.get(i, value) for i, value in enumerate(values) if lengths.get(i, 0) >= 0}
    lengths |= _splice(view.storage_name, online, found.keys, found.values, ready)
    changed = sorted(index for index, length in lengths.items() if length < 0)
    _take_back(view, online, {found.keys[i]: deeper[i] for i in changed if i in deeper and not found.deep[i]})
    return changed


def _take_back(view: FeatureView, online: OnlineStore, written: Mapping[bytes, bytes]) -> None:
    """Take out of deep values what was written to begin them, where there is no head that needs them.

    Who forgets or drops an entity in between deletes what is there: what came afterwards would stay.

    Args:
        view: whose values.
        online: the online store.
        written: what was written, by key.
    """
    left = dict(written)
    while left:
        keys = list(left)
        held = [deep or b"" for deep in read_values(deep_name(view), online, keys)]
        values = read_values(view.storage_name, online, keys)  # afterwards: a head isn't there before its deep value
        needless = {
            index: held[index].replace(left[key], b"", 1)  # others may have begun it, too
            for index, (key, value) in enumerate(zip(keys, values, strict=True))
            if left[key] in held[index] and not has_head(value or b"")
        }
        lengths = _splice(deep_name(view), online, keys, held, needless)
        left = {keys[index]: left[keys[index]] for index, length in lengths.items() if length < 0}
    if written:
        online.delete(view.storage_name, [])  # it is in no log of the store either


def _splice(
    name: str, online: OnlineStore, keys: Sequence[bytes], held: Sequence[bytes], values: Mapping[int, bytes]
) -> dict[int, int]:
    """Replace some values; return how long each is then, -1 where it has changed meanwhile, by position."""
    if not values:
        return {}
    mine, old = ([part[index] for index in values] for part in (keys, held))
    return dict(zip(values, online.splice(name, mine, old, list(values.values())), strict=True))


def _heads(view: FeatureView, found: FoundValues, values: Sequence[bytes], moment: int) -> dict[int, bytes]:
    """Return what stands for those values that are hot, or become so, by position."""
    codec = codec_of(view)
    least = [HOT // 2 if deep else HOT for deep in found.deep]
    chosen = [i for i, value in enumerate(values) if codec.may_hold(value, least[i])]
    mine, since = [found.keys[i] for i in chosen], moment - GRACE_MICROS
    heads = codec.headed(mine, [values[i] for i in chosen], since, moment)
    made = zip(chosen, heads, strict=True)
    return {i: head for i, head in made if head and (found.deep[i] or _SHORTER * len(head) < len(values[i]))}


def compared(view: FeatureView, online: OnlineStore, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return all that a store holds of entities, to be compared with history; None for nothing.

    Where a head doesn't say what the events say, or there is a deep value alone (`HEADLESS`), it is a value that nobody
    can read.

    Args:
        view: whose values.
        online: the online store.
        keys: of the entities.
    """
    found, codec = FoundValues.of(view, online, keys, every=True), codec_of(view)
    wrong = set(codec.misleading(keys, found.values, found.known))
    values = [_UNREADABLE if i in wrong else value or None for i, value in enumerate(found.known)]
    alone = (bool(deep and not value) for value, deep in zip(found.values, found.deep, strict=True))
    return [HEADLESS if is_alone else value for is_alone, value in zip(alone, values, strict=True)]


def read_values(name: str, online: OnlineStore, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return values, None where there is none.

    Args:
        name: the view's, or what `deep_name` returns.
        online: the online store.
        keys: of the entities.
    """
    return online.read([(name, keys)], within=_PATIENCE)[0] if keys else []
