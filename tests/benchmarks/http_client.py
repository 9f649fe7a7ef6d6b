"""Clients that put a closed load on an HTTP server, light enough for one core to fill another's server.

Each client keeps its connection and sends the same request again as soon as it has the answer. One thread serves all of
them by epoll: a client with an event loop would take as long for a request as some servers do.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

Seconds = np.ndarray[Any, np.dtype[np.float64]]
_END = b"\r\n\r\n"
_PATIENCE = 30.0


def post(path: str, body: bytes) -> bytes:
    """Return a request that posts JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


class Client:
    """One connection, and the answer that it waits for.

    Args:
        port: the server's, on this machine.
        request: what it sends.
    """

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request

    def send(self) -> None:
        """Ask, and begin to wait."""
        self._answer, self._size, self.started = b"", 0, time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Take in what has come; tell whether the answer is whole."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError(f"the server hung up after {self._answer[-200:]!r}")
        self._answer += part
        if not self._size and (end := self._answer.find(_END)) >= 0:
            self._size = end + len(_END) + self._length(self._answer[:end])
        return 0 < self._size <= len(self._answer)

    @staticmethod
    def _length(head: bytes) -> int:
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"the server answers {head!r}")
        return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def load(clients: Sequence[Client], seconds: float) -> tuple[Seconds, float]:
    """Let clients send; return how long each answer took, and how long all did, seconds.

    Args:
        clients: who sends.
        seconds: for how long; answers to what they have sent by then count as well.

    Raises:
        ConnectionError: an answer isn't 200, or doesn't come.
    """
    by_file, taken = {client.socket.fileno(): client for client in clients}, list[float]()
    with select.epoll() as poll:
        for file in by_file:
            poll.register(file, select.EPOLLIN)
        begun, waiting = time.perf_counter(), len(clients)
        for client in clients:
            client.send()
        while waiting:
            ready = poll.poll(_PATIENCE)
            if not ready:
                raise ConnectionError(f"the server didn't answer for {_PATIENCE:g} s")
            for file, _ in ready:
                client = by_file[file]
                if not client.receive():
                    continue
                now = time.perf_counter()
                taken.append(now - client.started)
                if now < begun + seconds:
                    client.send()
                else:
                    waiting -= 1
    return np.array(taken), time.perf_counter() - begun
