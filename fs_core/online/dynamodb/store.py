"""Latest rows in a table of DynamoDB."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import ORDER, Additions, OnlineRows, OnlineWrite, timeline_name
from fs_core.online.dynamodb.client import Table, key_of
from fs_core.online.dynamodb.names import ROW, TIMELINE, Name, Names, part_names
from fs_core.online.dynamodb.url import parsed

_RECENT = timeline_name("")
_LARGEST = 350_000  # bytes of a value in one item; DynamoDB takes 400 kB with all else
_LARGEST_CHANGE = 3_800_000  # bytes of the values that change in one step; DynamoDB takes 4 MB
_FIELDS = "p, s, v, c, n, e"
_SECONDS = 10.0  # how long writers of one item try to get past each other
_TRIES = 8  # how often an item is read again whose parts change while it is read


class _Item(NamedTuple):
    """What an item holds.

    Attributes:
        value: a row or a timeline.
        collect_at: from which second on the table may delete it.
        version: other bytes after each change; None where there is no item.
        parts: in how many other items the value lies.
        lacking: whether some of those aren't there; then there is no value.
    """

    value: bytes = b""
    collect_at: int | None = None
    version: bytes | None = None
    parts: int = 0
    lacking: bool = False

    @property
    def is_broken(self) -> bool:
        """Whether parts are lacking that the table hasn't deleted by itself, in whatever order it likes."""
        return self.lacking and (self.collect_at is None or self.collect_at >= time.time())


Change = Callable[[Sequence[_Item]], Sequence[_Item]]
"""Makes of what items hold what they are to hold; one without a value goes."""


class DynamoDBOnlineStore:
    """Latest rows in one table. See `OnlineStore` for what is promised.

    A row is an item, a timeline another. An item has `k` (the key), `v` (the value), `o` (a row's order), `e` (seconds,
    for the table's TTL) and `n`, other bytes after each change. A value that is too large for an item lies in several
    others, `c` of them. What belongs together changes in one transaction: an item and its parts, which have the same
    `n`, a row and its timeline.

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
            return sum(self._write(view, mark, write, additions) for write in by_key[key])

        with _perhaps_in_part():
            return sum(self._table.each(one, list(by_key)))

    def _write(self, view: str, mark: bytes, write: OnlineWrite, additions: Additions | None) -> bool:
        expires = None if write.collect_at is None else -(-write.collect_at // 1000)
        order, piece = (None, b"") if additions is None else additions[write.key]
        if order is None and len(write.row) <= _LARGEST and self._compare_and_set(mark, write, expires):
            return True
        done = False

        def change(items: Sequence[_Item]) -> Sequence[_Item]:
            nonlocal done
            row, *timelines = items
            applied = row.value[ORDER] <= write.row[ORDER]
            done = applied if order is None else row.value[ORDER] == order
            if not done:
                return items
            longer = [item._replace(value=item.value + piece) for item in timelines]
            return [row._replace(value=write.row, collect_at=expires) if applied else row, *longer]

        self._change(view, write.key, (ROW, TIMELINE) if piece else (ROW,), change)
        return done

    def _compare_and_set(self, mark: bytes, write: OnlineWrite, expires: int | None) -> bool:
        """Put a row in place of an older one, in one step of the server's, unless that one has parts."""
        values: dict[str, Any] = {
            ":v": {"B": write.row},
            ":o": {"B": write.row[ORDER]},
            ":k": {"B": write.key},
            ":n": {"B": _version()},
        }
        values |= {} if expires is None else {":e": {"N": str(expires)}}
        answer = self._table.call(
            "update_item",
            Key=key_of(self._names.item(mark, write.key)),
            UpdateExpression=f"SET v = :v, o = :o, k = :k, n = :n{' REMOVE e' if expires is None else ', e = :e'}",
            ConditionExpression="attribute_not_exists(c) AND (attribute_not_exists(o) OR o <= :o)",
            ExpressionAttributeValues=values,
        )
        return answer is not None

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `OnlineStore.read`; a hundred rows come in one round trip, several hundreds at once."""
        names = [(view, key, self._named(view, key)) for view, keys in requests for key in keys]
        items = self._load([name for _, _, name in names], within)
        for view, key, name in names:
            if items.get(name, _Item()).is_broken:
                raise OnlineStoreError(
                    f"the online store {self._table.address}: view {view!r}: what is kept for entity {key!r} lacks "
                    f"parts, or changes faster than it can be read. If it stays so, materialize with rebuild=True."
                )
        found = iter([items.get(name, _Item()).value or None for _, _, name in names])
        return [[next(found) for _ in keys] for _, keys in requests]

    def splice(self, view: str, keys: Sequence[bytes], held: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """See `OnlineStore.splice`. A value is read and written anew, however little is added to it."""
        rows_of, kind = _meant(view)

        def one(number: int) -> int:
            length = -1

            def change(items: Sequence[_Item]) -> Sequence[_Item]:
                nonlocal length
                (item,), begins, value = items, held[number], values[number]
                if not item.value.startswith(begins):
                    length = -1
                    return items
                rest = item.value[len(begins) :]
                after = value + rest if begins else rest + value
                length = len(after)
                return [item._replace(value=after)]

            self._change(rows_of, keys[number], (kind,), change)
            return length

        with _perhaps_in_part():
            return self._table.each(one, range(len(keys)))

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """See `OnlineStore.scan`."""
        rows_of, kind = _meant(view)
        for partition in self._names.partitions(self._names.mark(rows_of)):
            for page in self._table.query(partition, f"{_FIELDS}, k", begins=kind):
                heads = {_name(head): head for head in page}
                items = self._joined(heads, None)
                found = [(_bytes(heads[name], "k"), item.value) for name, item in items.items() if item.value]
                if found:
                    yield OnlineRows([key for key, _ in found], [row for _, row in found])

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """See `OnlineStore.delete`."""
        rows_of, kind = _meant(view)

        def one(number: int) -> bool:
            deleted = False

            def change(items: Sequence[_Item]) -> Sequence[_Item]:
                nonlocal deleted
                first, *timelines = items
                deleted = bool(first.value) and (rows is None or first.value == rows[number])
                goes = deleted or first.lacking
                return [first._replace(value=b"") if goes else first, *(each._replace(value=b"") for each in timelines)]

            self._change(rows_of, keys[number], (ROW, TIMELINE) if kind == ROW else (TIMELINE,), change)
            return deleted

        with _perhaps_in_part():
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

    def _named(self, view: str, key: bytes) -> Name:
        """Return the name of the item of a view's, or of its timelines', key."""
        rows_of, kind = _meant(view)
        return self._names.item(self._names.mark(rows_of), key, kind)

    def _change(self, view: str, key: bytes, kinds: Sequence[bytes], change: Change) -> None:
        """Change items of an entity by what they hold, all or none; again where another writer came between.

        Args:
            view: whose rows.
            key: of the entity.
            kinds: of the items.
            change: what becomes of what they hold. It may be asked several times.
        """
        names = [self._names.item(self._names.mark(view), key, kind) for kind in kinds]
        ends, mine = time.monotonic() + _SECONDS, set[bytes | None]()
        while True:
            found = self._load(names, None)
            before = [found.get(name, _Item()) for name in names]
            if any(item.version in mine for item in before):
                return  # the answer was lost, and the client sent it again
            after = change(before)
            if not any(map(_differs, before, after)):
                return
            if (size := sum(map(len, (item.value for item in after)))) > _LARGEST_CHANGE:
                raise OnlineStoreError(
                    f"the online store {self._table.address}: view {view!r}: entity {key!r} has {size:,} bytes, and "
                    f"DynamoDB changes {_LARGEST_CHANGE:,} at once. Keep less of it: shorter windows, a shorter "
                    "online_history, smaller values; or another online store."
                )
            if mine and time.monotonic() >= ends:  # after a look whether the last try was done
                raise OnlineUnavailableError(
                    f"the online store {self._table.address}: others changed an item for {_SECONDS:g} s on end."
                )
            version = _version()
            mine.add(version)
            if self._put(key, list(zip(names, before, after, strict=True)), version):
                return

    def _put(self, key: bytes, changes: Sequence[tuple[Name, _Item, _Item]], version: bytes) -> bool:
        """Make items what they are to be, if all still are as they were; return whether that was done."""
        steps = [step for change in changes for step in _steps(key, *change, version)]
        if len(steps) == 1:
            ((what, arguments),) = steps
            return self._table.call({"Put": "put_item", "Delete": "delete_item"}[what], **arguments) is not None
        table = {"TableName": self._table.address.table}
        items = [{what: table | arguments} for what, arguments in steps]
        return self._table.call("transact_write_items", TransactItems=items) is not None

    def _load(self, names: Sequence[Name], within: float | None) -> dict[Name, _Item]:
        """Return items; those whose parts change while they are read are read again, some times."""
        ends = None if within is None else time.monotonic() + within
        whole: dict[Name, _Item] = {}
        found: dict[Name, _Item] = {}
        for _ in range(_TRIES):
            left = None if ends is None else max(ends - time.monotonic(), 0.0)
            found = self._joined(self._table.get(names, _FIELDS, within=left), ends)
            whole |= {name: item for name, item in found.items() if not item.is_broken}
            names = [name for name, item in found.items() if item.is_broken]
            if not names:
                break
        return whole | found

    def _joined(self, heads: Mapping[Name, Mapping[str, Any]], ends: float | None) -> dict[Name, _Item]:
        """Return what items hold, with what lies in their parts."""
        wanted = {name: part_names(name, int(head["c"]["N"])) for name, head in heads.items() if "c" in head}
        pieces: dict[Name, dict[str, Any]] = {}
        if wanted:
            left = None if ends is None else max(ends - time.monotonic(), 0.0)
            pieces = self._table.get([part for some in wanted.values() for part in some], "p, s, v, n", within=left)
        return {
            name: _item(head, [pieces.get(part, {}) for part in wanted.get(name, ())]) for name, head in heads.items()
        }


@contextmanager
def _perhaps_in_part() -> Iterator[None]:
    """Have an error say that some of a change may be there: an answer may be lost, and each entity is one request."""
    try:
        yield
    except OnlineUnavailableError as error:
        raise OnlineUnavailableError(f"{error} Some of it may be done; repeat it, which does no harm.") from error


def _item(head: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> _Item:
    version = _bytes(head, "n")
    lacking = any(_bytes(part, "n") != version for part in parts)
    value = b"" if lacking else b"".join(_bytes(each, "v") for each in (head, *parts))
    return _Item(value, int(head["e"]["N"]) if "e" in head else None, version, len(parts), lacking)


def _differs(before: _Item, after: _Item) -> bool:
    """Whether an item must be written: what lacks parts is written anew, or goes, with the next change."""
    return before.lacking or before != after


def _steps(key: bytes, name: Name, before: _Item, after: _Item, version: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the steps that make an item and its parts what they are to be, if nobody has changed it.

    Args:
        key: of the entity.
        name: of the item.
        before: what it holds.
        after: what it is to hold.
        version: what tells this change from others.
    """
    held: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(n)"}
    if before.version is not None:
        held = {"ConditionExpression": "n = :n", "ExpressionAttributeValues": {":n": {"B": before.version}}}
    if not _differs(before, after):
        return [("ConditionCheck", {"Key": key_of(name), **held})]
    value, pieces = after.value, list[bytes]()
    if len(value) > _LARGEST:
        value, pieces = b"", [value[start : start + _LARGEST] for start in range(0, len(value), _LARGEST)]
    same: dict[str, Any] = {"n": {"B": version}}
    same |= {} if after.collect_at is None else {"e": {"N": str(after.collect_at)}}
    parts = part_names(name, max(len(pieces), before.parts))
    steps: list[tuple[str, dict[str, Any]]] = [
        ("Put", {"Item": {**key_of(part), **same, "v": {"B": piece}}})
        for part, piece in zip(parts, pieces, strict=False)
    ]
    steps += [("Delete", {"Key": key_of(part)}) for part in parts[len(pieces) :]]
    if not after.value:
        return [*steps, ("Delete", {"Key": key_of(name), **held})]
    item = {**key_of(name), **same, "k": {"B": key}}
    item |= {"o": {"B": after.value[ORDER] or b"\0"}} if name[1].startswith(ROW) else {}
    item |= {"c": {"N": str(len(pieces))}} if pieces else {"v": {"B": value}}
    return [*steps, ("Put", {"Item": item, **held})]


def _meant(view: str) -> tuple[str, bytes]:
    """Return whose rows are meant, and whether they are, or their timelines, which lie beside them."""
    return view.removesuffix(_RECENT), TIMELINE if view.endswith(_RECENT) else ROW


def _reopen(url: str, project: str) -> DynamoDBOnlineStore:
    return DynamoDBOnlineStore(url, project=project)


def _version() -> bytes:
    return os.urandom(8)


def _name(item: Mapping[str, Any]) -> Name:
    return _bytes(item, "p"), _bytes(item, "s")


def _bytes(item: Mapping[str, Any], field: str) -> bytes:
    """Return an attribute, nothing where there is none."""
    return bytes(item[field]["B"]) if field in item else b""
