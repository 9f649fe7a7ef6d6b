"""Forgetting looks into saved training sets: none that holds a forgotten entity stays unnamed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore
from fs_core.errors import ConfigurationError, SavedTrainingSetError, UnknownReferenceError
from fs_core.retrieval.saved.directory import SavedTrainingSets
from fs_core.retrieval.saved.forgetting import SavedRows
from tests.core.retrieval.saved.sets import ask, files, labels


def keep(store: FeatureStore) -> None:
    """Save a set with all four things, in two parts, and one without thing 0."""
    store.save_training_set(ask(store, labels(*range(4))), "every")
    store.refresh_training_set("every", labels(*range(9)))
    store.save_training_set(ask(store, labels(1, 2, 3)), "others")


def test_sets_that_hold_a_thing_are_named(filled: FeatureStore) -> None:
    """Every part is looked at; sets stay as they are unless they are to be deleted; what is returned is a list."""
    keep(filled)
    erased = filled.forget("thing", {"thing": [0]})
    assert [part.view for part in erased] == ["facts:v1.0.0"]
    assert erased.training_sets == [SavedRows("every", 3)]
    assert "every" in repr(erased)
    assert len(filled.load_training_set("every")) == 9
    assert filled.forget("thing", {"thing": [17]}).training_sets == []


def test_sets_that_hold_a_thing_are_deleted(filled: FeatureStore) -> None:
    """Asked to, it deletes them whole, and no others; nothing is left to find."""
    keep(filled)
    assert filled.forget("thing", {"thing": [0]}, saved="delete").training_sets == [SavedRows("every", 3, deleted=True)]
    assert [part.name for part in filled.list_training_sets()] == ["others"]
    assert files(filled, "every") == []
    assert filled.forget("thing", {"thing": [0]}, saved="delete").training_sets == []


@pytest.mark.parametrize("what", ["manifest.json", "part-*.parquet"])
def test_a_damaged_set_is_named_and_stays(filled: FeatureStore, what: str) -> None:
    """What can't be read may hold anybody: it is named without a number, and not deleted on suspicion."""
    keep(filled)
    for path in (Path(filled.directory) / "training_sets" / "others").glob(what):
        path.write_bytes(b"damaged")
    erased = filled.forget("thing", {"thing": [0]}, saved="delete")
    assert erased.training_sets == [SavedRows("every", 3, deleted=True), SavedRows("others", None)]
    assert files(filled, "others")


def test_keys_in_other_types_are_found(filled: FeatureStore) -> None:
    """A spine whose keys are of another whole-number type holds the same things; text is another's."""
    things = labels(*range(4))["thing"]
    for name, column in (("narrow", things.cast(pa.int8())), ("unsigned", things.cast(pa.uint64()))):
        filled.save_training_set(ask(filled, labels(*range(4)).set_column(0, "thing", column)), name)
    assert filled.forget("thing", {"thing": [0]}).training_sets == [SavedRows("narrow", 1), SavedRows("unsigned", 1)]


def test_an_entity_without_views(filled: FeatureStore) -> None:
    """A set may name an entity beside its keys that no view describes: it is found all the same."""
    filled.apply(Entity("seller", keys={"seller": "string"}, description="S."))
    filled.save_training_set(ask(filled, labels(1, 2, seller=["ann", "bob"])), "sold")
    erased = filled.forget("seller", {"seller": ["ann"]})
    assert (list(erased), erased.training_sets) == ([], [SavedRows("sold", 1)])
    filled.save_training_set(ask(filled, labels(1, 2, seller=[7, 8])), "sold", overwrite=True)
    assert filled.forget("seller", {"seller": ["7"]}).training_sets == []


def test_what_a_killed_writer_left_goes(filled: FeatureStore) -> None:
    """Files that no set lists may hold the thing, too."""
    keep(filled)
    left = Path(filled.directory) / "training_sets" / "others" / "part-left.parquet"
    left.write_bytes(b"thing 0")
    filled.forget("thing", {"thing": [0]})
    assert not left.exists()


def test_a_set_dropped_meanwhile_is_none(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who drops a set while it is looked for leaves nothing to report."""
    keep(filled)

    def gone(*_: object) -> None:
        raise UnknownReferenceError("dropped")

    monkeypatch.setattr(SavedTrainingSets, "columns", gone)
    assert filled.forget("thing", {"thing": [0]}).training_sets == []


def test_a_set_dropped_before_it_is_deleted_is_gone(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who drops a set between its search and its deletion keeps no other from being deleted."""
    keep(filled)
    filled.save_training_set(ask(filled, labels(0)), "another")
    look = SavedTrainingSets.columns

    def drop_then(self: SavedTrainingSets, name: str, wanted: list[str]) -> pa.Table | None:
        found = look(self, name, wanted)
        if name == "another":
            filled.drop_training_set(name)
        return found

    monkeypatch.setattr(SavedTrainingSets, "columns", drop_then)
    assert filled.forget("thing", {"thing": [0]}, saved="delete").training_sets == [SavedRows("every", 3, deleted=True)]


def test_one_that_cannot_be_deleted_spares_no_other(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes after every other set was deleted, and names each that is left."""
    keep(filled)
    for name in ("another", "also"):
        filled.save_training_set(ask(filled, labels(0)), name)
    remove = shutil.rmtree
    monkeypatch.setattr("shutil.rmtree", lambda path, **more: "every" in str(path) and remove(path, **more))
    with pytest.raises(SavedTrainingSetError, match=r"'also'.*files of it are left") as caught:
        filled.forget("thing", {"thing": [0]}, saved="delete")
    assert "'another'" in caught.value.__notes__[0]
    assert files(filled, "every") == []


def test_what_cannot_be_deleted_is_reported(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that stay are an error, not a success."""
    keep(filled)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(SavedTrainingSetError, match="files of it are left"):
        filled.forget("thing", {"thing": [0]}, saved="delete")


def test_other_words_are_refused(filled: FeatureStore) -> None:
    """What to do with saved sets is one of two words; before that is clear nothing is erased."""
    before = filled.history("facts").num_rows
    with pytest.raises(ConfigurationError, match="saved='drop'"):
        filled.forget("thing", {"thing": [0]}, saved="drop")  # type: ignore[arg-type]
    assert filled.history("facts").num_rows == before
