"""What fitting learns, and what it and encoding refuse, naming the column and the way out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import Encoding
from fs_core.errors import DefinitionError, FeatureStoreError, SchemaError, ValidationError
from fs_core.training_set import TrainingSet
from tests.core.encoding.drawing import training_set_of

WORDS = pa.array(["b", None, "a", "b"])
NUMBERS = pa.array([1, None, 3, 4])
LISTS = pa.array([[1], [], None, [2, 3]])
TIMES = pa.array([datetime(2024, 1, 1)] * 4, pa.timestamp("us", "UTC"))
ROWS = {"words": WORDS, "numbers": NUMBERS, "lists": LISTS, "times": TIMES}


def fit(names: list[str], **wishes: Any) -> Encoding:
    """Fit on some of the rows."""
    return Encoding.fit(training_set_of({name: ROWS[name] for name in names}), **wishes)


def test_a_vocabulary_is_what_was_seen() -> None:
    """Distinct words, sorted, whatever their order; other rows bring no new word."""
    encoding = fit(["words"])
    assert encoding.encode(pa.table({"words": ["a", "b", "c", None]}))["words"].tolist() == [1, 2, 0, 0]
    assert encoding == Encoding.fit(training_set_of({"words": WORDS.take(pa.array([3, 2, 0]))}))


def test_masks_and_lists_name_their_columns() -> None:
    """A matrix's columns are named in order, lists element by element, masks beside their features."""
    encoding = fit(["numbers", "lists"], mask=["numbers"], fill={"lists": 0}, lengths={"lists": 2})
    assert encoding.columns == ("numbers", "numbers__mask", "lists[0]", "lists[1]")
    rows = encoding.matrix(pa.table(ROWS)).tolist()
    assert rows == [[1, 0, 1, 0], [0, 1, 0, 0], [3, 0, 0, 0], [4, 0, 2, 3]]


def test_fills_are_of_the_columns_kind() -> None:
    """Times fill with times, dates with dates; a float's fill may be infinite."""
    rows = {"t": pa.array([None], pa.timestamp("us", "UTC")), "d": pa.array([None], pa.date32())}
    learnt = training_set_of({**rows, "x": pa.array([None], pa.float64())})
    fill = {"t": datetime(1970, 1, 2), "d": date(1970, 1, 2), "x": float("inf")}
    encoding = Encoding.from_json(Encoding.fit(learnt, fill=fill).to_json())
    assert encoding.matrix(learnt.table).tolist() == [[86_400 * 1e6, 1, np.inf]]


def test_equality_is_of_content() -> None:
    """A NaN fill equals a NaN fill; another fill, order or dtype is another encoding."""
    learnt = training_set_of({"x": pa.array([1.0]), "y": pa.array([1.0])})
    assert Encoding.fit(learnt, fill=float("nan")) == Encoding.fit(learnt, fill=float("nan"))
    others = [Encoding.fit(learnt), Encoding.fit(learnt, fill=0), Encoding.fit(learnt, features=["y", "x"])]
    assert len({*others, Encoding.fit(learnt, dtype="float64")}) == 4
    assert others[0] != "an encoding"


@pytest.mark.parametrize(
    ("names", "wishes", "kind", "words"),
    [
        (["numbers"], {}, ValidationError, "'numbers' .*int64.*row 1.*fill={'numbers': 0}.*mask=\\['numbers'\\]"),
        (["lists"], {}, SchemaError, "'lists' .*lengths={'lists': 20}.*leave it out"),
        (["lists"], {"lengths": {"lists": 0}}, DefinitionError, "0 for column 'lists'"),
        (["words"], {"lengths": {"words": 2}}, DefinitionError, "'words' is string, not a list"),
        (["words"], {"fill": {"words": 1}}, DefinitionError, "'words' holds text.*code 0"),
        (["words"], {"vocabulary": {"words": ["a", "a"]}}, DefinitionError, "'words'.*distinct"),
        (["words"], {"vocabulary": {"words": "ab"}, "features": "words"}, DefinitionError, "'words'.*list"),
        (["words"], {"vocabulary": {"word": ["a"]}}, DefinitionError, "vocabulary names 'word'.*mean 'words'"),
        (["words"], {"ages": ["words"]}, DefinitionError, "'words' is string, not a time"),
        (["words"], {"mask": "wordz"}, DefinitionError, "mask names 'wordz'.*mean 'words'"),
        (["words"], {"dtype": "int64"}, DefinitionError, "dtype='int64'.*float32"),
        (["words"], {"dtype": "nonsense"}, DefinitionError, "dtype='nonsense'"),
        (["words"], {"features": ["wordz"]}, SchemaError, "no column 'wordz'.*mean 'words'"),
        (["words"], {"features": ["words", "words"]}, DefinitionError, "'words' twice"),
        (["words"], {"features": []}, DefinitionError, "no feature"),
        (["numbers"], {"fill": 0.5}, DefinitionError, "0.5 is no int64.*'numbers'"),
        (["numbers"], {"fill": {"numbers": "x"}}, DefinitionError, "'x' is no int64.*'numbers'"),
        (["numbers"], {"fill": 2**63}, DefinitionError, "no int64.*'numbers'"),
        (["numbers"], {"vocabulary": {"numbers": ["1"]}}, DefinitionError, "'numbers' holds int64, not text"),
    ],
)
def test_what_cant_be_fitted_is_named(names: list[str], wishes: Any, kind: type[Exception], words: str) -> None:
    """Each refusal names the column and what to do."""
    with pytest.raises(kind, match=words):
        fit(names, **wishes)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([b"x"]), "'x' is binary, which no tensor holds.*leave it out"),
        (pa.array([{"a": 1}]), "'x' is struct"),
        (pa.array([1], pa.duration("us")), "'x' is duration"),
        (pa.array([1], pa.timestamp("ns")), "'x' is timestamp\\[ns\\]"),
        (pa.nulls(1), "'x' is null"),
    ],
)
def test_a_type_that_no_tensor_holds_is_named(column: pa.Array, words: str) -> None:
    """Bytes, members, durations and finer times are refused by name."""
    with pytest.raises(SchemaError, match=words):
        Encoding.fit(training_set_of({"x": column}))


def test_text_without_a_word_has_no_vocabulary() -> None:
    """A text column of nothing but nulls can't be learnt; a given vocabulary makes it an encoding."""
    nothing = training_set_of({"x": pa.nulls(2, pa.string())})
    with pytest.raises(ValidationError, match=r"'x' holds text, but no word.*vocabulary=\{'x'"):
        Encoding.fit(nothing)
    assert Encoding.fit(nothing, vocabulary={"x": ["a"]}).matrix(nothing.table).tolist() == [[0], [0]]


def test_more_words_than_a_float_tells_apart() -> None:
    """2,048 codes are exact in float16, 2,049 are too; then codes would collide in a matrix."""
    assert Encoding.fit(training_set_of({"x": [str(i) for i in range(2048)]}), dtype="float16")
    with pytest.raises(DefinitionError, match="'x' has 2049 words, more than float16"):
        Encoding.fit(training_set_of({"x": [str(i) for i in range(2049)]}), dtype="float16")


def test_the_label_is_no_feature() -> None:
    """Asked for as a feature, it is refused."""
    learnt = training_set_of({"x": pa.array([1.0]), "y": pa.array([1.0])}, label="y")
    assert Encoding.fit(learnt).features == ("x",)
    with pytest.raises(DefinitionError, match="'y' is the label"):
        Encoding.fit(learnt, features=["x", "y"])


def test_a_mask_needs_a_name_of_its_own() -> None:
    """A feature that is named like another's mask is refused."""
    learnt = training_set_of({"x": pa.array([1.0]), "x__mask": pa.array([1.0])})
    with pytest.raises(DefinitionError, match="'x__mask'"):
        Encoding.fit(learnt, mask=["x"])


@pytest.mark.parametrize(
    ("table", "kind", "words"),
    [
        ({"numbres": [1]}, SchemaError, "no column 'numbers'.*mean 'numbres'"),
        ({"numbers": ["1"]}, SchemaError, "'numbers' is string, but was fitted as int64"),
        ({"numbers": [1, 2, None]}, ValidationError, "'numbers'.*1 rows hold a null .*row 2"),
    ],
)
def test_rows_that_dont_fit_are_named(table: Any, kind: type[Exception], words: str) -> None:
    """A missing column, another type, a null that can't be: each is refused when encoding."""
    encoding = Encoding.fit(training_set_of({"numbers": pa.array([1, 2])}))
    with pytest.raises(kind, match=words):
        encoding.encode(pa.table(table))


def test_ages_without_moments_are_refused() -> None:
    """Served rows have no timestamp column, so their moment has to be passed, one for each or one for all."""
    encoding = fit(["times"], ages=["times"])
    rows = pa.table({"times": TIMES})
    with pytest.raises(SchemaError, match=r"no column 'event_timestamp'.*moments="):
        encoding.encode(rows)
    with pytest.raises(SchemaError, match="1 moments for 4 rows"):
        encoding.encode(rows, moments=np.array([1]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": 3}', "format 3.*up to 2.*version that wrote it"),
        ("{}", "no encoding"),
        ("[]", "no encoding"),
        ("{", "no JSON"),
        ('{"format": 1}', "damaged.*dtype"),
        ('{"format": 1, "dtype": "float32", "columns": [3]}', "damaged"),
        ('{"format": 1, "dtype": "float32", "columns": [{"name": "x", "vocabulary": null, "type": "y"}]}', "no dtype"),
    ],
)
def test_what_is_no_encoding_is_refused(text: str, words: str) -> None:
    """A newer format says which version to use; damage and other JSON are different errors."""
    with pytest.raises(FeatureStoreError, match=words):
        Encoding.from_json(text)


def test_types_alone_are_enough_where_there_is_no_text() -> None:
    """What a schema says is what fitting on rows without nulls says; text, and nulls without a fill, want rows."""
    schema = pa.schema(
        [("a", pa.int64()), ("b", pa.float64()), ("at", pa.timestamp("us", "UTC")), ("v", pa.list_(pa.float32(), 2))]
    )
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    table = pa.table({"a": [1], "b": [2.5], "at": [moment], "v": [[1.0, 2.0]]}, schema=schema)
    names = ["v", "a", "b", "at"]
    found = Encoding.for_schema(schema, names, timestamp="when", dtype="float64")
    fitted = Encoding.fit(TrainingSet(table, tuple(names), (), "when", None, {"lag": None}), dtype="float64")
    assert found == fitted
    assert found.columns == ("v[0]", "v[1]", "a", "b", "at")
    with pytest.raises(ValidationError, match="no word to learn"):
        Encoding.for_schema(pa.schema([("word", pa.string())]), ["word"])
    with pytest.raises(SchemaError, match="'missing'"):
        Encoding.for_schema(schema, ["missing"])
    with pytest.raises(DefinitionError, match="no feature to encode"):
        Encoding.for_schema(schema, [])
