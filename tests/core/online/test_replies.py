"""The bytes of commands and replies: how they are packed, and that no way of cutting them up matters."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Connection

from fs_core.online.redis.naming import Names
from fs_core.online.redis.replies import Replies, gets, mget

ITEMS = st.lists(st.none() | st.binary(max_size=12) | st.just(b"\r\n$-1\r\n") | st.just(b"x" * 114), max_size=40)


def sent(items: Sequence[bytes | None], *, array: bool) -> bytes:
    """Return what a server sends for rows."""
    bulks = [b"$-1\r\n" if item is None else b"$%d\r\n%b\r\n" % (len(item), item) for item in items]
    return (b"*%d\r\n" % len(items) if array else b"") + b"".join(bulks)


@given(items=ITEMS, array=st.booleans(), data=st.data())
def test_replies_cut_up_anyhow(items: list[bytes | None], array: bool, data: st.DataObject) -> None:
    """However the bytes arrive, the same rows come out, and they are complete with the last byte, not before."""
    whole = sent(items, array=array)
    replies = Replies(len(items), array=array)
    rest = whole
    while rest:
        assert not replies.done
        assert replies.wanted > 0
        size = data.draw(st.integers(1, len(rest)))
        assert replies.feed(rest[:size]) == (size == len(rest))
        rest = rest[size:]
    assert replies.done
    assert replies.items == items


@pytest.mark.parametrize("count", [7, 8, 9, 1000])
@pytest.mark.parametrize("odd", [None, b"", b"y" * 113, b"y" * 115, b"y" * 7])
def test_runs_of_equal_length(count: int, odd: bytes | None) -> None:
    """Rows of one length are taken apart at once; one of another length, or none, anywhere among them is not lost."""
    for place in (0, 1, count // 2, count - 1):
        items: list[bytes | None] = [b"%05d" % number + b"x" * 109 for number in range(count)]
        items[place] = odd
        replies = Replies(count, array=True)
        assert replies.feed(sent(items, array=True))
        assert replies.items == items


def test_errors() -> None:
    """An error in place of the array, or of one row, is kept as its text."""
    whole = Replies(3, array=True)
    assert whole.feed(b"-LOADING dataset\r\n")
    assert whole.error == "LOADING dataset"
    each = Replies(3, array=False)
    assert each.feed(b"$1\r\na\r\n-MOVED 3999 127.0.0.1:6381\r\n$-1\r\n")
    assert each.items == [b"a", "MOVED 3999 127.0.0.1:6381", None]


@pytest.mark.parametrize(
    "noise", [b"*2\r\n$1\r\na\r\n", b"+OK\r\n", b"*x\r\n", b"*1\r\n:5\r\n", b"*1\r\n$1\r\na\r\n+more\r\n"]
)
def test_noise(noise: bytes) -> None:
    """What is no reply to the command is refused, rather than read as rows."""
    with pytest.raises(ValueError):
        Replies(1, array=True).feed(noise)


@given(keys=st.lists(st.binary(max_size=20), min_size=1, max_size=12))
def test_commands_are_packed_as_the_driver_packs_them(keys: list[bytes]) -> None:
    """The packed command is byte for byte the driver's own, for keys of one length and of several."""
    names, driver = Names("p"), Connection(protocol=2)
    requests = [("v-1", keys), ("v-2", []), ("v-3", keys[:1])]
    called = [name for view, part in requests for name in names.rows(part, view)]
    assert mget(names, requests) == b"".join(driver.pack_command("MGET", *called))
    assert gets(called) == b"".join(b"".join(driver.pack_command("GET", name)) for name in called)


@given(keys=st.lists(st.binary(max_size=12), min_size=1, max_size=8), view=st.text(max_size=8))
def test_names_are_read_back_and_matched(keys: list[bytes], view: str) -> None:
    """A row's name gives its key back; the view's pattern is a glob that matches it by its plain bytes."""
    names = Names("p.1")
    called = names.rows(keys, view)
    assert [names.key(name) for name in called] == keys
    start, _, end = names.pattern(view).partition(b"*")
    unescaped = re.sub(rb"\\([*?\[\\])", rb"\1", end)
    assert all(name.startswith(start) and name.endswith(unescaped) for name in called)
    for name, key in zip(called, keys, strict=True):
        assert len(name) - len(key) == (11 if key[:1] in (b"", b"}", b"\xff") else 10)
