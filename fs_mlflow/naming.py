"""What we call things in MLflow, and how to find models by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fs_core.definitions import Reference
from fs_core.definitions.references import VersionSelector
from fs_core.errors import DefinitionError

FEATURE = "fs.feature."
VIEW = "fs.view."
TRAINING_SET = "fs.training_set."
FINGERPRINT = "fs.fingerprint"
PREDICTION = "prediction"
DIGEST_LENGTH = 36  # what MLflow keeps of a digest: 144 bits of ours
_SHOWN = 12


def dataset_digest(fingerprint: str) -> str:
    """Return what of a training set's fingerprint MLflow knows it by."""
    return fingerprint[:DIGEST_LENGTH]


def feature_tags(features: Any) -> dict[str, str]:
    """Return a tag for each feature and for each view: its version and digest, `v1.2.3@3f2a9c1b04d5`.

    Args:
        features: the part `features` of a training set's spec.
    """
    tags = {}
    for pin in features:
        reference = Reference.parse(pin["ref"])
        meaning = f"v{reference.selector.version}@{pin['digest'][:_SHOWN]}"
        tags[f"{FEATURE}{reference.name}.{reference.feature}"] = meaning
        tags[f"{VIEW}{reference.name}"] = meaning
    return tags


def models_using(reference: str, *, client: Any = None) -> list[Any]:
    """Return the logged models that a feature or view goes into, from MLflow's own search alone.

    Args:
        reference: `view` or `view.feature`, of any version unless it names one (`:v1.2.3`) or a digest
            (`@3f2a9c1`).
        client: an `mlflow.MlflowClient`; by default one of the current tracking server.

    Returns:
        `mlflow.entities.LoggedModel`, the newest first, of every experiment.

    Raises:
        DefinitionError: it is no reference, or names a version by time, which only a store knows.
    """
    import mlflow

    parsed = Reference.parse(reference)
    key = f"{VIEW}{parsed.name}" if parsed.feature is None else f"{FEATURE}{parsed.name}.{parsed.feature}"
    filter_string = f"tags.`{key}` LIKE '{_pattern(parsed.selector, reference)}'"
    return list(_search(client or mlflow.MlflowClient(), filter_string))


def pinned_references(tags: Mapping[str, str]) -> list[str]:
    """Return the features that a model's tags name, `view.feature:v1.2.3` each."""
    pins = {key.removeprefix(FEATURE): meaning for key, meaning in tags.items() if key.startswith(FEATURE)}
    return [f"{feature}:{meaning.partition('@')[0]}" for feature, meaning in sorted(pins.items())]


def registered_models(client: Any) -> list[Any]:
    """Return the versions in MLflow's model registry that are ours, with their aliases."""
    versions = list(_pages(client.search_model_versions, {"filter_string": f"tags.`{FINGERPRINT}` LIKE '%'"}))
    aliases = {name: client.get_registered_model(name).aliases for name in {version.name for version in versions}}
    for version in versions:
        version.aliases = sorted(alias for alias, at in aliases[version.name].items() if at == version.version)
    return versions


def _pattern(selector: VersionSelector, reference: str) -> str:
    if selector.moment is not None:
        raise DefinitionError(f"{reference!r} names a version by time, which MLflow doesn't know. Name the version.")
    if selector.version is not None:
        return f"v{selector.version}@%"
    return "%" if selector.digest is None else f"%@{selector.digest[:_SHOWN]}%"


def _search(client: Any, filter_string: str) -> Iterator[Any]:
    experiments = [found.experiment_id for found in _pages(client.search_experiments, {})]
    if experiments:
        yield from _pages(client.search_logged_models, {"experiment_ids": experiments, "filter_string": filter_string})


def _pages(search: Any, asked: Mapping[str, Any]) -> Iterator[Any]:
    page = search(**asked)
    yield from page
    while page.token:
        page = search(**asked, page_token=page.token)
        yield from page
