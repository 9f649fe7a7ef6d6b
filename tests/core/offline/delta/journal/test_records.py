"""Records of a segment whose disk has changed a byte: what lies around it is read."""

from __future__ import annotations

import pyarrow as pa

from fs_core.offline.delta.journal.records import FOLDING, ROWS, begin, parse, reached, record, taken

SCHEMA = pa.schema({"x": pa.int64(), "t": pa.string()})


def pushed(number: int) -> bytes:
    """Return the record of one push; its text looks like records that are none."""
    rows = pa.record_batch([[number] * 3, ["R\0\0\0\1", "F" + "\0" * 8, "B"]], SCHEMA)
    return record(ROWS, rows.serialize())


def numbers(data: bytes) -> list[int]:
    """Return which pushes can be read."""
    rows = parse(data).rows
    return [] if rows is None else rows["x"].to_pylist()[::3]


PARTS = [begin(7, SCHEMA), *map(pushed, range(4)), record(FOLDING, b"")]


def test_any_damaged_byte_loses_one_record() -> None:
    """Whichever byte is changed, and be it one of a length, all other pushes are read, and the loss is told."""
    whole = b"".join(PARTS)
    assert (numbers(whole), parse(whole).damaged, parse(whole).unfinished) == ([0, 1, 2, 3], 0, 0)
    start = len(PARTS[0])
    for number, part in enumerate(PARTS[1:5]):
        for place in range(len(part)):
            for change in (1, 128):
                broken = bytearray(whole)
                broken[start + place] ^= change
                assert numbers(bytes(broken)) == [n for n in range(4) if n != number], (number, place)
                found = parse(bytes(broken))
                assert found.damaged > 0 or (number == 3 and found.unfinished > 0), "the last one may look cut off"
        start += len(part)


def test_the_rest_of_a_push_is_no_damage() -> None:
    """Wherever the last record was cut off, nothing is reported as lost; nor behind a damaged one."""
    whole = b"".join(PARTS[:3])
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    for rest in range(1, len(PARTS[3])):
        found = parse(whole + PARTS[3][:rest])
        assert (found.damaged, found.unfinished) == (0, rest)
        found = parse(bytes(damaged) + PARTS[3][:rest])
        assert (found.damaged, found.unfinished) == (len(PARTS[2]), rest)
    assert numbers(bytes(damaged) + PARTS[3]) == [0, 2]


def test_a_damaged_batch_loses_its_rows_and_no_others() -> None:
    """Each batch has its rows and its progress in one record, also where it has no rows; both are read, or neither."""
    rows = [pa.table({"x": [number] * count, "t": ["T"] * count}, SCHEMA) for number, count in enumerate((3, 0, 2))]
    batches = [taken(part, {"a": 10 * number, "b": -number}) for number, part in enumerate(rows)]
    whole = b"".join([PARTS[0], *batches])
    assert (parse(whole).after, parse(whole).rows) == ({"a": 20, "b": 0}, pa.concat_tables(rows))
    start = len(PARTS[0])
    for number, part in enumerate(batches):
        for place in range(len(part)):
            broken = bytearray(whole)
            broken[start + place] ^= 128
            found = parse(bytes(broken))
            kept = [n for n in range(3) if n != number]
            assert found.rows == pa.concat_tables([rows[n] for n in kept])
            assert found.after == reached(bytes(broken)) == {"a": 10 * kept[-1], "b": -kept[0]}
            assert found.damaged > 0 or (number == 2 and found.unfinished > 0)
        start += len(part)
    empty = parse(PARTS[0] + batches[1])
    assert (empty.rows, empty.after) == (SCHEMA.empty_table(), {"a": 10, "b": -1})
