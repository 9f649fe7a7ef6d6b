"""What a packaged model knows about its features: a JSON file beside the model, checked when it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from fs_core import FeatureView, OnDemandView
from fs_core.definitions import Source
from fs_core.definitions.stored import from_dict
from fs_core.encoding import Encoding
from fs_core.errors import MISSHAPEN, DefinitionError
from fs_core.values.dtypes import resolve

Layout = Literal["matrix", "columns"]
"""How a model takes its inputs: one array, or a column for each name."""

FORMAT = 3
FEATURES = "features.json"
ENCODING = "encoding.json"
MODEL = "model"
SEAL = "seal"
_AGAIN = "Download the model again, or train again."


@dataclass(frozen=True)
class PackagedFeatures:
    """What a model takes, and what each of it meant when the model was trained.

    Attributes:
        rule: the name of the as-of rule that made the training set.
        features: the features to look up: pinned reference, content digest, column, keys that other columns hold, and
            what computed ones read.
        views: the definitions of their views, so that a difference can be shown.
        keys: the key columns of a request and their types.
        request: further columns that a request must bring, and their types: Arrow's texts. Inputs of the model, and
            request columns of on-demand views.
        overrides: feature columns that a request may bring, and their types.
        inputs: the model's inputs, in order.
        layout: how the model takes them.
        timestamp: the column that, where a request has it, asks for features as of its times.
        full_names: whether columns are named `view__feature`.
        fingerprint: the training set's.
        encoding_digest: the digest of the encoding that lies beside, if the model has one.
    """

    rule: str
    features: Sequence[Mapping[str, Any]]
    views: Sequence[Mapping[str, Any]]
    keys: Mapping[str, str]
    request: Mapping[str, str]
    overrides: Mapping[str, str]
    inputs: Sequence[str]
    layout: Layout
    timestamp: str
    full_names: bool
    fingerprint: str
    encoding_digest: str | None
    format: int = field(default=FORMAT)

    def columns(self) -> dict[str, pa.DataType]:
        """Return the columns that a request may have, the time aside, with their types."""
        return {
            name: resolve(text) for part in (self.keys, self.request, self.overrides) for name, text in part.items()
        }

    def definitions(self) -> dict[str, FeatureView | OnDemandView]:
        """Return the views that the model was trained on, by name.

        Raises:
            DefinitionError: a definition isn't the one whose digest is pinned.
        """
        views = {str(data["name"]): _view(data) for data in self.views}
        for pin in self.features:
            reads = {name: read["digest"] for name, read in pin.get("reads", {}).items()}
            for name, digest in {**reads, pin["ref"].partition(".")[0]: pin["digest"]}.items():
                if name not in views or views[name].digest != digest:
                    raise DefinitionError(
                        f"{FEATURES} is damaged: view {name!r}, which {pin['ref']} needs, isn't the one that is pinned."
                    )
        return views


def save(features: PackagedFeatures, encoding: Encoding | None, folder: Path) -> None:
    """Write the files that `load` reads.

    Args:
        features: what the model takes.
        encoding: what makes tensors of it, if anything does.
        folder: of the packaged model.
    """
    content = asdict(features)
    (folder / FEATURES).write_text(json.dumps({**content, SEAL: seal(content)}, indent=1))
    if encoding is not None:
        (folder / ENCODING).write_text(encoding.to_json())


def seal(content: Mapping[str, Any]) -> str:
    """Return a digest of all that the file says, so that a change of it is noticed."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load(folder: Path) -> tuple[PackagedFeatures, Encoding | None]:
    """Read what `save` wrote.

    Raises:
        DefinitionError: a file is missing, damaged, of another format or changed since, or the encoding isn't the
            pinned one.
    """
    try:
        features = _read(json.loads((folder / FEATURES).read_text()))
        features.columns()
        features.definitions()
    except DefinitionError:
        raise
    except (OSError, *MISSHAPEN) as error:
        raise DefinitionError(f"{FEATURES} can't be read: {error!r}. {_AGAIN}") from error
    return features, _encoding(folder, features.encoding_digest)


def _read(content: dict[str, Any]) -> PackagedFeatures:
    if content["format"] != FORMAT:
        raise DefinitionError(
            f"{FEATURES} has format {content['format']!r}; this fs_mlflow reads {FORMAT}. Use what wrote it."
        )
    if content.pop(SEAL) != seal(content):
        raise DefinitionError(
            f"{FEATURES} was changed after the model was logged: the model may be fed with other features than it was "
            f"trained on. {_AGAIN}"
        )
    features = PackagedFeatures(**content)
    if not isinstance(features.inputs, list) or not all(isinstance(name, str) for name in features.inputs):
        raise DefinitionError(f"{FEATURES} can't be read: inputs is {features.inputs!r}, no list of columns. {_AGAIN}")
    return features


def _encoding(folder: Path, digest: str | None) -> Encoding | None:
    if digest is None:
        return None
    try:
        encoding = Encoding.from_json((folder / ENCODING).read_text())
    except DefinitionError:
        raise
    except (OSError, *MISSHAPEN) as error:
        raise DefinitionError(f"{ENCODING} can't be read: {error!r}. {_AGAIN}") from error
    if encoding.digest != digest:
        raise DefinitionError(
            f"{ENCODING} has digest {encoding.digest[:12]}, but the model was trained with {digest[:12]}: the file was "
            f"changed after the model was logged. {_AGAIN}"
        )
    return encoding


def _view(data: Mapping[str, Any]) -> FeatureView | OnDemandView:
    # Where a source's files lie is no part of what a view means, and isn't packaged.
    view = from_dict(data, lambda name: Source(name, path="elsewhere.parquet"))
    assert isinstance(view, FeatureView | OnDemandView)
    return view
