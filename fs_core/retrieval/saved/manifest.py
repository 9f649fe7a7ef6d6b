"""What a saved training set consists of, and the text that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fs_core.errors import SavedTrainingSetError
from fs_core.values.times import from_micros

FORMAT = 1


@dataclass(frozen=True)
class SavedPart:
    """Rows that were looked up at once.

    Attributes:
        file: the Parquet file's name.
        rows: how many.
        fingerprint: of the training set that these rows are alone.
        spec: what `FeatureStore.recreate` makes them from again, states of history included.
    """

    file: str
    rows: int
    fingerprint: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class SavedTrainingSet:
    """A training set as the store keeps it.

    Attributes:
        name: what it is called.
        saved: when rows were last added, microseconds since 1970-01-01 UTC.
        schema: the table's Arrow schema, as `fs_core.retrieval.saved.parquet.encode_schema` writes it.
        parts: its rows in order, one part for each time some were added.
    """

    name: str
    saved: int
    schema: str
    parts: Sequence[SavedPart]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(part.rows for part in self.parts)

    @property
    def saved_at(self) -> datetime:
        """When rows were last added."""
        return from_micros(self.saved)

    @property
    def features(self) -> list[str]:
        """The names of the feature columns."""
        return [feature["column"] for feature in self.parts[-1].spec["features"]]

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the whole: the last part's, and, of several, which rows read which states of history."""
        whole = dict(self.parts[-1].spec)
        if len(self.parts) > 1:
            whole["parts"] = [{"rows": part.rows, "snapshots": part.spec["snapshots"]} for part in self.parts]
        return whole

    def to_json(self) -> str:
        """Return the manifest's text."""
        content = asdict(self)
        return json.dumps({"format": FORMAT, "digest": _digest(content), **content}, indent=1)

    @classmethod
    def from_json(cls, text: str, name: str) -> SavedTrainingSet:
        """Read a manifest's text.

        Raises:
            SavedTrainingSetError: it is damaged, another's, or of a format that this version doesn't know.
        """
        try:
            content = json.loads(text)
            known, digest = content.pop("format"), content.pop("digest")
            parts = tuple(SavedPart(**part) for part in content["parts"])
            whole = known != FORMAT or (digest == _digest(content) and content["name"] == name)
            made = cls(content["name"], content["saved"], content["schema"], parts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(name, f"its manifest can't be read: {error}") from error
        if known != FORMAT:
            raise SavedTrainingSetError(
                f"training set {name!r} has format {known!r}, and this fs_core reads {FORMAT}. "
                "Use the version that wrote it."
            )
        if not whole:
            raise damaged(name, "its manifest was altered")
        return made


def damaged(name: str, how: str) -> SavedTrainingSetError:
    """Return the error that says how a saved training set is damaged."""
    return SavedTrainingSetError(
        f"training set {name!r} is damaged: {how}. Restore its files, or drop it and save it again."
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
