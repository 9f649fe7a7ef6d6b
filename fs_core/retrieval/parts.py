"""A spine in parts, each of which any process answers alone: what other engines than one process stand on."""

from __future__ import annotations

import os
import pickle
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from fs_core.errors import DataError, FeatureStoreError, SchemaError
from fs_core.retrieval.query import Query, joined, made_of
from fs_core.retrieval.spine_file import FileRows, rows_of_file
from fs_core.values.interchange import to_table

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.training_set import TrainingSet

_MARK = b"fs_core.part"  # in the metadata of an answer: which part of which split it is of


@dataclass(frozen=True, eq=False, repr=False)
class Question:
    """What is asked, and the history that answers it; with many parts in one process, it is opened there once.

    Attributes:
        offline: the history; its pickle holds configuration.
        query: versions of definitions and states of history, all pinned.
    """

    offline: OfflineStore
    query: Query

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps((self.offline, self.query))

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._pickled,)

    def answer(self, rows: pa.Table, start: int) -> pa.Table:
        """Return some rows of the spine with their features, as `joined` does.

        Args:
            rows: of the spine.
            start: how many rows of the spine come before; errors say it.

        Raises:
            SchemaError, NameClashError: as in `joined`.
        """
        try:
            return joined(self.offline, rows, self.query)
        except FeatureStoreError as error:
            error.add_note(f"Rows are counted from row {start} of the spine.")
            raise


@lru_cache(maxsize=1)
def _opened(pickled: bytes) -> Question:
    return Question(*pickle.loads(pickled))  # noqa: S301  # it came inside a pickle, which is trusted or isn't read


class SpinePart:
    """Some rows of a spine, one after the other, and all it takes to answer them in any process.

    A pickle holds these rows, or where in a file they are, the pinned definitions and states of history, and the
    history's configuration, without credentials: no history, of which the process that answers reads what it needs.

    Args:
        question: what is asked.
        rows: of the spine, or where they are.
        start: how many rows of the spine come before.
        split: names the split.
        number: of the part, from 0.
    """

    def __init__(self, question: Question, rows: pa.Table | FileRows, start: int, split: str, number: int) -> None:
        self._question = question
        self._rows = rows
        self.start = start
        self.number = number
        self._split = split

    @property
    def rows(self) -> pa.Table:
        """The rows of the spine; read anew each time where they are in a file.

        Raises:
            SourceError, DataError: the file can't be read, or was changed.
        """
        return self._rows.read() if isinstance(self._rows, FileRows) else self._rows

    def answer(self) -> pa.Table:
        """Return the rows with their features; which part they are is in the schema's metadata.

        Raises:
            SchemaError: a value doesn't fit its key or request column.
            OfflineStoreError: history can't be read, or a state of it is no longer kept.
            TransformError: an on-demand view can't be computed here.
            SourceError, DataError: the file that holds the rows can't be read, or was changed.
        """
        try:
            found = self._question.answer(self.rows, self.start)
        except FeatureStoreError as error:
            error.add_note(f"That is part {self.number} of a split.")
            raise
        return found.replace_schema_metadata({_MARK: f"{self._split}:{self.number}"})

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __bool__(self) -> bool:  # one without rows is a part, too
        return True

    def __repr__(self) -> str:
        return f"SpinePart(number={self.number}, start={self.start}, {len(self):,} rows)"

    def __getstate__(self) -> dict[str, Any]:
        rows = self._rows
        return {**self.__dict__, "_rows": rows if isinstance(rows, FileRows) else packed(rows)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        rows = state["_rows"]
        self.__dict__.update({**state, "_rows": rows if isinstance(rows, FileRows) else unpacked(rows)})


class SpineParts(Sequence[SpinePart]):
    """One question in parts: answer each wherever you like, then join the answers.

    The parts are rows after one another, as even as can be. An answer depends on its own row alone, and every process
    reads the same index, so nothing is gained by bringing equal entities together; rows in order cost no shuffle, and
    no entity with very many rows makes one part slow. To split by a hash of the keys is for engines that move
    history, too.

    Args:
        question: what is asked.
        spine: its rows, or those of a file.
        parts: how many.
        store: what a training set joined here says that made it.
    """

    def __init__(self, question: Question, spine: pa.Table | FileRows, parts: int, store: Any = None) -> None:
        self._question = question
        self._store = store
        self._split = secrets.token_hex(8)
        self._schema = joined(question.offline, spine.schema.empty_table(), question.query).schema
        ends = [number * spine.num_rows // parts for number in range(parts + 1)]
        self._parts = [
            SpinePart(question, spine.slice(start, end - start), start, self._split, number)
            for number, (start, end) in enumerate(pairwise(ends))
        ]

    @property
    def spec(self) -> dict[str, Any]:
        """What is read, as in `TrainingSet.spec`."""
        return self._question.query.spec()

    @property
    def schema(self) -> pa.Schema:
        """The schema of the answers: the spine's columns, then the features."""
        return self._schema

    @overload
    def __getitem__(self, index: int) -> SpinePart: ...
    @overload
    def __getitem__(self, index: slice) -> list[SpinePart]: ...
    def __getitem__(self, index: int | slice) -> SpinePart | list[SpinePart]:
        return self._parts[index]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[SpinePart]:
        return iter(self._parts)

    def __repr__(self) -> str:
        return f"SpineParts({len(self)} parts, {sum(map(len, self)):,} rows)"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}  # as of a training set

    def joined(self, answers: Iterable[pa.Table]) -> TrainingSet:
        """Return the training set of all rows in the spine's order, as `get_historical_features` does.

        Spec, bits and fingerprint are the same. `status` and `coverage` are empty, as answers don't hold them.

        Args:
            answers: what `answer` returned for each part, in any order.

        Raises:
            DataError: one is missing, comes twice, or isn't of a part of this split.
            SchemaError: one has other columns or types by now.
        """
        found: dict[int, pa.Table] = {}
        for answer in answers:
            number = self._number_of(answer)
            if number in found:
                raise DataError(f"part {number} of {len(self)} is there twice. Pass one answer of each part.")
            found[number] = answer.replace_schema_metadata(None)
        missing = [part.number for part in self if part.number not in found]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(self)} parts have no answer, the first of them part {missing[0]}. "
                f"Answer it, with parts[{missing[0]}].answer(), and pass all answers together."
            )
        whole = pa.concat_tables([found[number] for number in range(len(self))])
        return replace(made_of(self._question.query, whole), store=self._store)

    def _number_of(self, answer: pa.Table) -> int:
        """Return which part an answer is of."""
        mark = (answer.schema.metadata or {}).get(_MARK, b"") if isinstance(answer, pa.Table) else b""
        split, _, number = mark.decode().partition(":")
        if not split:
            raise DataError(
                f"{_described(answer)} is no answer of a part. Pass the tables that the parts' answer() returned, with "
                "the metadata of their schemas."
            )
        if split != self._split:
            raise DataError(f"part {number} is of another split, made at another time. Join it with its own parts.")
        part = self._parts[int(number)]
        if len(answer) != len(part):
            raise DataError(f"the answer of part {number} has {len(answer):,} rows, the part {len(part):,}.")
        if not answer.schema.equals(self._schema):
            raise SchemaError(f"the answer of part {number} has other columns than {self._schema.names}, or types.")
        return part.number


def split(question: Question, spine: Any, parts: int, store: Any = None) -> SpineParts:
    """Return a spine in parts.

    Args:
        question: what is asked.
        spine: anything that `to_table` reads, or the path of a Parquet file.
        parts: how many, 1 or more; some may be without rows.
        store: as for `SpineParts`.

    Raises:
        DataError: `parts` isn't 1 or more.
        SchemaError, NameClashError: as in `historical_features`, where the columns show it.
        SourceError: the file can't be read.
    """
    if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
        raise DataError(f"parts={parts!r} is not a number of parts; pass 1 or more.")
    rows = rows_of_file(spine) if isinstance(spine, str | os.PathLike) else to_table(spine, "the spine")
    return SpineParts(question, rows, parts, store)


def packed(table: pa.Table) -> pa.Buffer:
    """Return a table's rows as an Arrow stream; a pickle of a slice would hold all that it is a slice of."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def unpacked(stream: pa.Buffer) -> pa.Table:
    """Return the table of an Arrow stream."""
    return pa.ipc.open_stream(stream).read_all()


def _described(answer: Any) -> str:
    return f"a table of {answer.column_names}" if isinstance(answer, pa.Table) else f"a {type(answer).__name__}"
