"""What a format must do so that messages become columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import pyarrow as pa


class MessagesError(Exception):
    """Some of the messages become no row; the others may.

    Args:
        reasons: why, by the message's number.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


class Format(Protocol):
    """Reads messages of one kind. A message becomes the same row whatever messages are read with it."""

    @property
    def types(self) -> Mapping[str, pa.DataType] | None:
        """The columns that messages have and their types; None where only the messages say them."""
        ...

    def by_name(self, bodies: Sequence[bytes], types: Mapping[str, pa.DataType], optional: str) -> pa.Table:
        """Return some columns of messages, a row for each.

        Args:
            bodies: at least one message.
            types: the columns wanted, and what types they will be cast to.
            optional: the one of them that messages may lack; it is null then.

        Raises:
            MessagesError: these messages can't be read, or lack a column.
            SchemaError: one of the messages can't be read, or the format's messages never have a column.
        """
        ...

    def for_sql(self, bodies: Sequence[bytes], wanted: Collection[str] | None) -> Mapping[str, pa.Array]:
        """Return the columns of messages as the table of a query, a row for each.

        Args:
            bodies: at least one message.
            wanted: the columns wanted, in lower case; None for all.

        Raises:
            MessagesError: these messages can't be read.
            SchemaError: one of them can't be read.
        """
        ...
