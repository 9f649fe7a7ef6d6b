"""The packed row: what an online store keeps of one entity of one view.

    bytes 0-4     seal, little-endian: a checksum of all that follows (`fs_core.online.row.layout`; CRC-32 if there are
                  streams), exclusive-or the first bytes of SHA-256 over the view's digest and this format's number,
                  exclusive-or the CRC-32 of the entity's key
    bytes 4-26    order: event_time and a, each 64 bits, big-endian, sign bit flipped; seq, 48 bits, big-endian
    then          one bit for each feature, set where it isn't null, least significant first
    then          fixed-width features, little-endian, in order; zero where null
    then          lengths of the other features' streams, 4 bytes each, little-endian, in order
    then          those streams (`fs_core.online.row.variable` says which a type has), one after the other

Up to the streams all rows of a view are equally long, so a batch of them is read as one NumPy array.
A row that is truncated, damaged, of another format, of another view's meaning or of another entity fails the
seal or the length, and is reported, never read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import OnlineStoreError
from fs_core.online.contract import LAST_SEQ, OnlineRows
from fs_core.online.row.cells import Cells, Flags, Sizes, is_fixed, one_array, to_cells, window
from fs_core.online.row.columns import SIGN, FeatureRows
from fs_core.online.row.keys import pack_keys
from fs_core.online.row.layout import Hashes, Layout, layout_of
from fs_core.online.row.variable import Pieces, are_sound, from_streams, stream_count, to_streams
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.values.times import EARLIEST, LATEST

ONLINE_GRACE_MICROS = 86_400_000_000
"""How long past its expiry a row is kept at least: reads at a moment this recent are still answered."""

_FEW = 256  # moments of which Python finds the latest sooner than NumPy
_SEAL = struct.Struct("<I")
_AVAILABLE = struct.Struct(">12xQ")  # from when a row is available, at its place in a row
_WORD = np.dtype(">u8")
Micros = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(eq=False)  # each read makes one: a frozen one takes twice as long
class DecodedRows:
    """Packed rows, read.

    Attributes:
        features: the features, null where `found` is false; n rows.
        sound: bool [n], whether there was a sound row; None where there always was.
        corrupt: indices of rows that were there but not sound.
    """

    features: FeatureRows
    sound: Flags | None
    corrupt: list[int]

    @classmethod
    def of(
        cls, layout: Layout, heads: Cells, variable: Mapping[str, pa.Array], sound: Flags | None, corrupt: list[int]
    ) -> DecodedRows:
        """Read the heads of rows; `variable` are the features of varying size.

        Args:
            layout: how the rows are laid out.
            heads: the fixed part of each row.
            variable: the features of varying size, by name.
            sound: which rows are there and whole; None where all are.
            corrupt: the positions of damaged rows.
        """
        return cls(FeatureRows(layout, heads, variable), sound, corrupt)

    @property
    def latest(self) -> int:
        """The latest availability of a row that is there, microseconds; `EARLIEST` where none is."""
        heads = self.features.heads
        if len(heads) == 1:
            found: int = _AVAILABLE.unpack_from(heads)[0]  # type: ignore[arg-type]  # an array is a buffer
        else:
            flipped = heads["__clocks"][:, 1]
            found = max(flipped.tolist(), default=0) if len(flipped) <= _FEW else int(flipped.astype(np.uint64).max())
        return max(found - int(SIGN), EARLIEST)

    @cached_property
    def clocks(self) -> Micros:
        """When each row happened and from when it is available, microseconds, int64 [n, 2], 0 where not found."""
        words = self.features.heads["__clocks"].T.astype(np.uint64, order="C")  # each clock in one piece
        words ^= SIGN
        clocks = words.view(np.int64).T
        if self.sound is not None:
            clocks[~self.sound] = 0
        return clocks

    @property
    def event_time(self) -> Micros:
        """Microseconds, int64 [n], 0 where not found."""
        return self.clocks[:, 0]

    @property
    def available_at(self) -> Micros:
        """Microseconds, int64 [n], 0 where not found."""
        return self.clocks[:, 1]

    @property
    def seq(self) -> Sizes:
        """Int64 [n], 0 where not found."""
        heads = self.features.heads
        words = window(heads, heads.dtype.fields["__seq"][1] - 2, _WORD, 1)[:, 0]
        return (words.astype(np.uint64) & np.uint64(LAST_SEQ)).view(np.int64)

    @property
    def found(self) -> Flags:
        """Whether there was a sound row, bool [n]."""
        return np.ones(len(self.features), dtype=bool) if self.sound is None else self.sound

    @cached_property
    def table(self) -> pa.Table:
        """The features in their declared types."""
        types = self.features.layout.features
        return pa.Table.from_arrays(self.features.arrays(tuple(types)), schema=pa.schema(list(types.items())))


class RowCodec:
    """Packs and reads the rows of one view. Cheap to make, thread-safe, and pickles as its view."""

    def __init__(self, view: FeatureView) -> None:
        self._view = view
        self._layout = layout_of(view)

    def __reduce__(self) -> tuple[Any, ...]:
        return RowCodec, (self._view,)

    def keys(self, table: pa.Table) -> list[bytes | None]:
        """Return each row's key bytes, None where a part is null.

        Args:
            table: holds the view's key columns, in the view's types.

        See `fs_core.online.row.keys` for the form.
        """
        return self.pack_keys([one_array(table[name]) for name in self._view.keys])

    def pack_keys(self, columns: Sequence[pa.Array]) -> list[bytes | None]:
        """Return what `keys` does, of key columns in the view's order and types."""
        return pack_keys(columns)

    def encode(self, rows: pa.Table) -> OnlineRows:
        """Return the packed rows of a table in `history_schema(view)`, in its order.

        The keys must not be null: history holds no such rows.

        Raises:
            OnlineStoreError: a seq is beyond `LAST_SEQ`.
        """
        layout, features = self._layout, self._view.features
        heads = np.zeros(rows.num_rows, layout.head)
        valid = np.zeros((rows.num_rows, len(features)), bool)
        event_time = _numbers(rows[EVENT_TIME])
        clocks = np.stack([event_time, _numbers(rows[AVAILABLE_AT])], axis=1)
        heads["__clocks"], heads["__seq"] = clocks.view(np.uint64) ^ SIGN, self._seq_cells(_numbers(rows[SEQ]))
        streams = []
        for index, (name, dtype) in enumerate(features.items()):
            if is_fixed(dtype):
                heads[name], valid[:, index] = to_cells(one_array(rows[name]))
            else:
                parts, valid[:, index] = to_streams(one_array(rows[name]))
                streams += parts
        heads["__flags"] = np.packbits(valid, axis=1, bitorder="little")
        for index, stream in enumerate(streams):
            heads["__sizes"][:, index] = stream.sizes
        keys: list[bytes] = self.keys(rows)  # type: ignore[assignment]  # none is null
        sealed = _sealed(layout, keys, heads, [stream.pieces() for stream in streams])
        return OnlineRows(keys, sealed, self._collect_at(event_time))

    def decode(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], hashes: Callable[[], Hashes] | None = None
    ) -> DecodedRows:
        """Read the packed rows that a store holds under these keys.

        Args:
            keys: whose rows they are.
            values: what is stored under each; None stands for no row.
            hashes: gives the keys' hashes, for who needs them, too.
        """
        rows, heads, found = self._layout.read(keys, values, hashes)
        variable, sound = self._variable(rows, heads) if self._layout.has_streams else ({}, None)
        if sound is not None and not sound.all():  # a right checksum on wrong lengths: nothing we wrote
            return self.decode(keys, [value if ok else b"" for value, ok in zip(values, sound, strict=True)], hashes)
        corrupt: list[int] = []
        if found is not None:
            corrupt = [i for i in np.flatnonzero(~found).tolist() if values[i] is not None]
        return DecodedRows.of(self._layout, heads, variable, found, corrupt)

    def _variable(self, rows: Sequence[bytes], heads: Cells) -> tuple[dict[str, pa.Array], Flags]:
        """Return features of varying size, and which rows' streams fit their types; where one doesn't, no column."""
        valid: Flags = np.unpackbits(heads["__flags"], axis=1, bitorder="little").view(bool)
        streams = _taken(rows, heads)
        columns: dict[str, pa.Array] = {}
        sound = np.ones(len(rows), dtype=bool)
        for index, (name, dtype) in enumerate(self._view.features.items()):
            if is_fixed(dtype):
                continue
            mine, streams = streams[: stream_count(dtype)], streams[stream_count(dtype) :]
            fits = are_sound(dtype, valid[:, index], mine)
            if fits.all():
                columns[name] = from_streams(dtype, valid[:, index], mine)
            sound &= fits
        return columns, sound

    def _seq_cells(self, seq: Sizes) -> Cells:
        if len(seq) and not 0 <= seq.min() <= seq.max() <= LAST_SEQ:
            raise OnlineStoreError(
                f"view {self._view.ref!r}: seq {seq.min()} to {seq.max()} can't go online: rows there are numbered "
                f"from 0 to {LAST_SEQ}."
            )
        return np.stack([seq >> 32, seq >> 16 & 0xFFFF, seq & 0xFFFF], axis=1)

    def _collect_at(self, event_time: Micros) -> list[int] | None:
        ttl = self._view.ttl_micros
        if ttl is None or ttl > LATEST - EARLIEST:
            return None
        # Rounded up to milliseconds; a store takes no moment before 1970.
        collect_at: list[int] = np.maximum((event_time + (ttl + ONLINE_GRACE_MICROS)) // 1000 + 1, 1).tolist()
        return collect_at


def _sealed(layout: Layout, keys: Sequence[bytes], heads: Cells, streams: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return each head with its pieces of the streams behind it and its seal in front."""
    if not streams:
        heads["__seal"] = layout.seals(keys, heads)
        return _cut(heads, 0)
    bodies = [b"".join(parts) for parts in zip(_cut(heads, 4), *streams, strict=True)]
    return [_SEAL.pack(layout.seal(key, body)) + body for key, body in zip(keys, bodies, strict=True)]


def _cut(rows: Cells, start: int) -> list[bytes]:
    """Return each row's bytes from an offset on."""
    data, size = rows.tobytes(), rows.dtype.itemsize
    return [data[end - size + start : end] for end in range(size, len(data) + 1, size)]


def _taken(rows: Sequence[bytes], heads: Cells) -> list[Pieces]:
    """Return each stream of sound rows; the others have empty ones."""
    sizes = heads["__sizes"].astype(np.int64)
    ends = heads.dtype.itemsize + np.cumsum(sizes, axis=1)
    taken = []
    for index in range(sizes.shape[1]):
        stop = ends[:, index]
        cuts = zip(rows, (stop - sizes[:, index]).tolist(), stop.tolist(), strict=True)
        taken.append(Pieces(b"".join([row[a:b] for row, a, b in cuts]), sizes[:, index]))
    return taken


def _numbers(column: pa.ChunkedArray) -> Sizes:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
