"""Rows of a spine that other processes of this machine answer, in the spine's order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait

import pyarrow as pa

from fs_core.errors import ConfigurationError, DataError, OfflineStoreError
from fs_core.retrieval.parts import Question, packed, unpacked
from fs_core.runtime.per_process import this_process

_AHEAD = 2  # tables under way for each worker: one that it answers, one that it finds when it is done


def answered(question: Question, tables: Iterable[pa.Table], workers: int) -> Generator[pa.Table, None, None]:
    """Yield tables with their features, in order; closing ends the processes, whatever they are at.

    The first process starts with the first table. Memory holds two tables for each process.

    Args:
        question: what is asked.
        tables: the rows of the spine; read as answers are taken.
        workers: how many processes, 1 or more.

    Raises:
        FeatureStoreError: as the question's `answer`, where the table would come.
        OfflineStoreError: a process was killed, or couldn't start.
        ConfigurationError: a forked child goes on with what its parent began.
    """
    process = this_process()
    under_way: deque[tuple[int, Future[pa.Buffer]]] = deque()
    start = 0
    context = _fresh()
    end, wanted = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (dict(os.environ), end))
    try:
        for rows in tables:
            _refuse_fork(process)
            under_way.append((start, pool.submit(_answer, question, packed(rows), start)))
            start += rows.num_rows
            if len(under_way) == _AHEAD * workers:
                yield _next(under_way)
        while under_way:
            _refuse_fork(process)
            yield _next(under_way)
    except BrokenProcessPool as error:
        first = under_way[0][0] if under_way else start
        raise OfflineStoreError(
            f"a worker process ended before the rows from row {first} of the spine on were answered: it was killed, as "
            "for want of memory, or couldn't start. Use fewer workers or a smaller batch_size; a script that starts "
            "workers must do so below `if __name__ == '__main__':`."
        ) from error
    finally:
        if this_process() is process:  # a forked child has the pool's locks, perhaps held, and none of its threads
            if under_way:
                wanted.send_bytes(b"")  # a batch may take minutes: who gives up, as by Ctrl-C, doesn't wait for it
            pool.shutdown(cancel_futures=True)
            wanted.close()
            end.close()


def require_workers(workers: int | None) -> None:
    """Raise unless so many processes may be started here; None stands for none.

    Raises:
        DataError: it isn't 1 or more.
        ConfigurationError: this process may start no others.
    """
    if workers is None:
        return
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise DataError(
            f"workers={workers!r} is not a number of processes; pass 1 or more, or None for this one alone."
        )
    if multiprocessing.current_process().daemon:
        raise ConfigurationError(
            f"workers={workers}: this process is a worker itself, as of a data loader, and may start no others. "
            "Leave workers out here."
        )


def _fresh() -> multiprocessing.context.BaseContext:
    """Return what starts processes that share nothing with this one: history doesn't survive a fork."""
    known = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")


def _begin(environment: Mapping[str, str], end: Connection) -> None:
    """Prepare a worker."""
    os.environ.update(environment)  # the server that forks it may have started before credentials were set or renewed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that takes the answers, too
    threading.Thread(target=_end_unwanted, args=(end,), name="fs-core-parent", daemon=True).start()


def _end_unwanted(end: Connection) -> None:
    """End when nobody takes the answers: their process wrote to the pipe, which none reads, or was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel, end])
    os._exit(1)


def _refuse_fork(process: object) -> None:
    """Raise in a forked child: none of its threads waits for the workers."""
    if this_process() is not process:
        raise ConfigurationError(
            "this stream was begun in the process that this one was forked from, whose workers answer nobody else. "
            "Make a stream here; without workers, if this is a worker itself."
        )


def _next(under_way: deque[tuple[int, Future[pa.Buffer]]]) -> pa.Table:
    found = under_way[0][1].result()
    under_way.popleft()  # not before: an error names the first rows without an answer
    return unpacked(found)


def _answer(question: Question, rows: pa.Buffer, start: int) -> pa.Buffer:
    return packed(question.answer(unpacked(rows), start))
