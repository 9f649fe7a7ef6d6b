"""How an `ingest` goes: on standard error, and for Prometheus."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from fs_core.cli.output import say
from fs_core.errors import ConfigurationError
from fs_core.streams.ingest import Ingested, Watch

_SECONDS = 10.0  # between lines where nobody watches


@contextmanager
def shown() -> Iterator[Watch]:
    """Yield what shows how an `ingest` goes: in place on a terminal, else as a line every ten seconds."""
    if not sys.stderr.isatty():
        yield _Line(_SECONDS, lambda text: say(text, err=True))
        return
    from rich.console import Console

    with Console(stderr=True).status("waiting for messages") as status:
        yield _Line(0.0, status.update)


class _Line:
    """Makes a line of text now and then.

    Args:
        seconds: how long after one line there is no other.
        show: takes it.
    """

    def __init__(self, seconds: float, show: Callable[[str], None]) -> None:
        self._seconds, self._show = seconds, show
        self._before = time.monotonic(), 0

    def __call__(self, done: Ingested) -> None:
        moment, (then, messages) = time.monotonic(), self._before
        if moment - then < self._seconds:
            return
        rate = (done.messages - messages) / max(moment - then, 0.001)
        self._show(f"{done}; {rate:,.0f} messages/s")
        self._before = moment, done.messages


def exported(address: str | None, view: str, stream: str) -> AbstractContextManager[Watch]:
    """Return a context that yields what gives counters to Prometheus at an address, or does nothing without one.

    Args:
        address: `PORT` or `HOST:PORT`.
        view: the view's name.
        stream: the stream's.

    Raises:
        ConfigurationError: the address is none, or nobody can listen there.
    """
    if address is None:
        return nullcontext(lambda _: None)
    from fs_core.streams.metrics import served

    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigurationError(f"--metrics {address}: give a port, such as 9100, or an address and a port.")
    return served(host.strip("[]") or "127.0.0.1", int(port), view=view, stream=stream)
