"""Latest rows in a table of DynamoDB."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import ORDER, Additions, OnlineRows, OnlineWrite, timeline_name
from fs_core.online.dynamodb.client import Table, key_of
from fs_core.online.dynamodb.names import Name, Names, is_row
from fs_core.online.dynamodb.url import parsed

_RECENT = timeline_name("")
_LARGEST = 350_000  # bytes of an item's row and timeline; DynamoDB takes 400 kB with all else
_PARTS = struct.Struct(">16sIQ")  # an item's parts: their name, how many, and where the timeline begins
_FIELDS = "p, s, k, r, t, c, n, e"
_SECONDS = 10.0  # how long writers of one item try to get past each other
_GONE = 8  # how often an item is read again whose parts went while it was read


class _Item(NamedTuple):
    """What an item holds; `version` is other bytes after each change, None where there is no item."""

    row: bytes = b""
    timeline: bytes = b""
    version: bytes | None = None
    parts: bytes | None = None
    collect_at: int | None = None


Change = Callable[[_Item], tuple[bytes, bytes, int | None] | None]
"""Makes row, timeline and moment of collection (seconds) of what is there; None where nothing changes."""


class DynamoDBOnlineStore:
    """Latest rows in one table. See `OnlineStore` for what is promised.

    An item has `k` (the key), `r` (the row), `o` (its order, where there is a row), `t` (the timeline), `e` (seconds,
    for the table's TTL) and `n`, other bytes after each change. A row and timeline that are too large for an item lie
    in several others, which `c` names.

    Args:
        url: `dynamodb://region/table?endpoint=...`.
        project: whose rows these are.

    Raises:
        ConfigurationError: the URL names no table, or carries credentials.
    """

    def __init__(self, url: str, *, project: str) -> None:
        self._url, self._project = url, project
        self._table = Table(parsed(url))
        self._names = Names(project)

    def __repr__(self) -> str:
        return f"DynamoDBOnlineStore({str(self._table.address)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._url, self._project)

    def write(self, view: str, rows: Sequence[OnlineWrite], *, additions: Additions | None = None) -> int:
        """See `OnlineStore.write`."""
        by_key: dict[bytes, list[OnlineWrite]] = {}
        for write in OnlineRows.of(rows):
            by_key.setdefault(write.key, []).append(write)
        mark = self._names.mark(view)

        def one(key: bytes) -> int:
            return sum(self._write(self._names.row(mark, key), write, additions) for write in by_key[key])

        return sum(self._table.each(one, list(by_key)))

    def _write(self, name: Name, write: OnlineWrite, additions: Additions | None) -> bool:
        expires = None if write.collect_at is None else -(-write.collect_at // 1000)
        order, piece = (None, b"") if additions is None else additions[write.key]
        if order is None and len(write.row) <= _LARGEST:
            return self._compare_and_set(name, write, expires)
        done = False

        def change(item: _Item) -> tuple[bytes, bytes, int | None] | None:
            nonlocal done
            applied = item.row[ORDER] <= write.row[ORDER]
            done = applied if order is None else item.row[ORDER] == order
            if not done or not (applied or piece):
                return None
            row, moment = (write.row, expires) if applied else (item.row, item.collect_at)
            return row, item.timeline + piece, moment

        self._change(name, write.key, change)
        return done

    def _compare_and_set(self, name: Name, write: OnlineWrite, expires: int | None) -> bool:
        """Put a row in place of an older one, in one step of the server's; a timeline beside it stays."""
        values: dict[str, Any] = {
            ":r": {"B": write.row},
            ":o": {"B": write.row[ORDER]},
            ":k": {"B": write.key},
            ":n": {"B": _version()},
        }
        collected = "" if expires is None else ", e = :e"
        values |= {} if expires is None else {":e": {"N": str(expires)}}
        answer = self._table.call(
            "update_item",
            Key=key_of(name),
            UpdateExpression=f"SET r = :r, o = :o, k = :k, n = :n{collected} REMOVE c{'' if collected else ', e'}",
            ConditionExpression="attribute_not_exists(o) OR o <= :o",
            ExpressionAttributeValues=values,
            ReturnValues="UPDATED_OLD",
        )
        if answer is None:
            return False
        self._delete_parts(name, _bytes(answer.get("Attributes", {}), "c") or None)
        return True

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `OnlineStore.read`; a hundred rows come in one round trip, several hundreds at once."""
        asked = [(*self._meant(view), keys) for view, keys in requests]
        names = [[self._names.row(mark, key) for key in keys] for mark, _, keys in asked]
        fields = "p, s, r, c, n" + (", t" if any(recent for _, recent, _ in asked) else "")
        items = self._load([name for some in names for name in some], fields, within)
        return [
            [_part(items.get(name), recent) for name in some] for (_, recent, _), some in zip(asked, names, strict=True)
        ]

    def splice(self, view: str, keys: Sequence[bytes], held: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """See `OnlineStore.splice`. A value is read and written anew, however little is added to it."""
        mark, recent = self._meant(view)

        def one(number: int) -> int:
            length = -1

            def change(item: _Item) -> tuple[bytes, bytes, int | None] | None:
                nonlocal length
                before, begins, value = item.timeline if recent else item.row, held[number], values[number]
                if not before.startswith(begins):
                    length = -1
                    return None
                after = value + before[len(begins) :] if begins else before + value
                length = len(after)
                if after == before:
                    return None
                return (item.row, after, item.collect_at) if recent else (after, item.timeline, item.collect_at)

            self._change(self._names.row(mark, keys[number]), keys[number], change)
            return length

        return self._table.each(one, range(len(keys)))

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """See `OnlineStore.scan`."""
        mark, recent = self._meant(view)
        for partition in self._names.partitions(mark):
            for page in self._table.query(partition, _FIELDS):
                rows = {_name(item): item for item in page if is_row(_name(item)[1])}
                items = self._joined(rows, None)
                found = [(_bytes(rows[name], "k"), row) for name in rows if (row := _part(items.get(name), recent))]
                if found:
                    yield OnlineRows([key for key, _ in found], [row for _, row in found])

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """See `OnlineStore.delete`."""
        mark, recent = self._meant(view)

        def one(number: int) -> bool:
            deleted = False

            def change(item: _Item) -> tuple[bytes, bytes, int | None] | None:
                nonlocal deleted
                held = item.timeline if recent else item.row
                deleted = bool(held) and (rows is None or held == rows[number])
                row = b"" if deleted and not recent else item.row
                timeline = item.timeline if recent and not deleted else b""
                return None if (row, timeline) == (item.row, item.timeline) else (row, timeline, item.collect_at)

            self._change(self._names.row(mark, keys[number]), keys[number], change)
            return deleted

        return sum(self._table.each(one, range(len(keys))))

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        name = self._names.watermark(self._names.mark(view))
        found = self._table.get([name], "p, s, w").get(name)
        return None if found is None else _bytes(found, "w").decode(errors="surrogateescape")

    def swap_watermark(self, view: str, held: str | None, text: str) -> bool:
        """See `OnlineStore.swap_watermark`."""
        name, version = self._names.watermark(self._names.mark(view)), _version()
        same = {} if held is None else {":held": {"B": held.encode(errors="surrogateescape")}}
        answer = self._table.call(
            "put_item",
            Item={**key_of(name), "w": {"B": text.encode(errors="surrogateescape")}, "n": {"B": version}},
            ConditionExpression="attribute_not_exists(w)" if held is None else "w = :held",
            **({"ExpressionAttributeValues": same} if same else {}),
        )
        # The client may have sent it twice, having lost the first answer.
        return answer is not None or _bytes(self._table.get([name], "p, s, n").get(name, {}), "n") == version

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`."""
        mark, dropped = self._names.mark(view), 0
        self._table.delete([self._names.watermark(mark)])
        for partition in self._names.partitions(mark):
            for page in self._table.query(partition, "p, s, o"):
                self._table.delete([_name(item) for item in page])
                dropped += sum("o" in item for item in page)
        return dropped

    def close(self) -> None:
        """See `OnlineStore.close`."""
        self._table.close()

    # --- items -----------------------------------------------------------------------------------

    def _meant(self, view: str) -> tuple[bytes, bool]:
        """Return the mark of a view, and whether its timelines are meant, which lie beside its rows."""
        return self._names.mark(view.removesuffix(_RECENT)), view.endswith(_RECENT)

    def _change(self, name: Name, key: bytes, change: Change) -> None:
        """Change an item by what it holds, again where another writer came between."""
        ends, mine = time.monotonic() + _SECONDS, None
        while True:
            item = self._load([name], _FIELDS, None).get(name, _Item())
            if mine is not None and item.version == mine:
                return  # the answer was lost, and the client sent it again
            wanted = change(item)
            if wanted is None:
                return
            mine = _version()
            if self._put(name, key, wanted, item, mine):
                self._delete_parts(name, item.parts)
                return
            if time.monotonic() >= ends:
                raise OnlineUnavailableError(
                    f"the online store {self._table.address}: others changed an item for {_SECONDS:g} s on end."
                )

    def _put(
        self, name: Name, key: bytes, wanted: tuple[bytes, bytes, int | None], before: _Item, version: bytes
    ) -> bool:
        row, timeline, expires = wanted
        same = "attribute_not_exists(n)" if before.version is None else "n = :n"
        condition: dict[str, Any] = {"ConditionExpression": same}
        if before.version is not None:
            condition["ExpressionAttributeValues"] = {":n": {"B": before.version}}
        if not row and not timeline:
            return self._table.call("delete_item", Key=key_of(name), **condition) is not None
        held = {"r": row, "t": timeline}
        parts = None
        if len(row) + len(timeline) > _LARGEST:
            parts = self._put_parts(name, row, timeline, expires)
            held = {"c": parts}
        values = {"k": key, "n": version, "o": (row[ORDER] or b"\0") if row else b"", **held}
        item = {**key_of(name), **{field: {"B": value} for field, value in values.items() if value or field == "k"}}
        item |= {} if expires is None else {"e": {"N": str(expires)}}
        if self._table.call("put_item", Item=item, **condition) is not None:
            return True
        self._delete_parts(name, parts)
        return False

    # --- parts of large items --------------------------------------------------------------------

    def _put_parts(self, name: Name, row: bytes, timeline: bytes, expires: int | None) -> bytes:
        """Write what is too large for an item; return what names it."""
        whole = row + timeline
        parts = _PARTS.pack(os.urandom(16), -(-len(whole) // _LARGEST), len(row))
        for number, part in enumerate(_part_names(name, parts)):
            piece = whole[number * _LARGEST : (number + 1) * _LARGEST]
            item = {**key_of(part), "r": {"B": piece}, **({} if expires is None else {"e": {"N": str(expires)}})}
            self._table.call("put_item", Item=item)
        return parts

    def _delete_parts(self, name: Name, parts: bytes | None) -> None:
        for part in () if parts is None else _part_names(name, parts):
            self._table.call("delete_item", Key=key_of(part))

    def _load(self, names: Sequence[Name], fields: str, within: float | None) -> dict[Name, _Item]:
        """Return items whole; those that changed while their parts were read are read again."""
        ends = None if within is None else time.monotonic() + within
        found: dict[Name, _Item] = {}
        for _ in range(_GONE):
            left = None if ends is None else max(ends - time.monotonic(), 0.0)
            heads = self._table.get(names, fields, within=left)
            found |= self._joined(heads, ends)
            names = [name for name in heads if name not in found]
            if not names:
                return found
        raise OnlineStoreError(
            f"the online store {self._table.address}: {len(names)} items lack parts. Delete their rows, and "
            "materialize again."
        )

    def _joined(self, heads: Mapping[Name, Mapping[str, Any]], ends: float | None) -> dict[Name, _Item]:
        """Return what items hold, but for those whose parts aren't there."""
        wanted = {name: _part_names(name, parts) for name, head in heads.items() if (parts := _bytes(head, "c"))}
        pieces: dict[Name, dict[str, Any]] = {}
        if wanted:
            left = None if ends is None else max(ends - time.monotonic(), 0.0)
            pieces = self._table.get([part for some in wanted.values() for part in some], "p, s, r", within=left)
        found = {}
        for name, head in heads.items():
            parts = _bytes(head, "c")
            row, timeline = _bytes(head, "r"), _bytes(head, "t")
            if parts:
                if not all(part in pieces for part in wanted[name]):
                    continue
                whole = b"".join(_bytes(pieces[part], "r") for part in wanted[name])
                row, timeline = whole[: _PARTS.unpack(parts)[2]], whole[_PARTS.unpack(parts)[2] :]
            expires = int(head["e"]["N"]) if "e" in head else None
            found[name] = _Item(row, timeline, _bytes(head, "n"), parts or None, expires)
        return found


def _reopen(url: str, project: str) -> DynamoDBOnlineStore:
    return DynamoDBOnlineStore(url, project=project)


def _version() -> bytes:
    return os.urandom(8)


def _name(item: Mapping[str, Any]) -> Name:
    return _bytes(item, "p"), _bytes(item, "s")


def _part(item: _Item | None, recent: bool) -> bytes | None:
    return None if item is None else (item.timeline if recent else item.row) or None


def _bytes(item: Mapping[str, Any], field: str) -> bytes:
    """Return an attribute, nothing where there is none."""
    return bytes(item[field]["B"]) if field in item else b""


def _part_names(name: Name, parts: bytes) -> list[Name]:
    mark, count, _ = _PARTS.unpack(parts)
    return [(name[0], b"p" + mark + number.to_bytes(4, "big")) for number in range(count)]
