"""Logging a model together with the description of its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core import FeatureService, FeatureView, OnDemandView, TrainingSet
from fs_core.definitions import VersionSelector
from fs_core.encoding import Encoding
from fs_core.errors import ConfigurationError, DefinitionError, NotOnlineError, SchemaError, UnknownReferenceError
from fs_core.retrieval.resolution import select_among
from fs_core.retrieval.selection import Selection, pinned_as
from fs_core.training_set import require_training_set
from fs_core.values.dtypes import canonical, resolve
from fs_core.values.interchange import require_columns
from fs_mlflow.naming import FINGERPRINT, feature_tags
from fs_mlflow.packaging import code, inner
from fs_mlflow.packaging import flavor as own_flavor
from fs_mlflow.packaging.features import Layout, PackagedFeatures
from fs_mlflow.recording import Location, record_model, store_at_hand

if TYPE_CHECKING:
    from fs_core import FeatureStore

EXAMPLE_ROWS = 5


def log_model(
    model: Any,
    *,
    name: str,
    training_set: TrainingSet,
    flavor: str | ModuleType | None = None,
    inputs: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    encoding: Encoding | None = None,
    layout: Layout | None = None,
    store: FeatureStore | str | None = None,
    registered_model_name: str | None = None,
    code_paths: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    **flavor_kwargs: Any,
) -> Any:
    """Log a model that looks its features up itself, wherever MLflow loads it.

    What is logged is a pyfunc that takes keys and request-time columns. On keys alone it predicts from
    what is online now; with the training set's time column, from features as of those times. It finds the
    store by `FS_STORE`, `FS_ONLINE` and `FS_REGISTRY`, or by `model_config={"fs_store": ...}`, and refuses
    to load where a feature means something else than in training. The store's lineage knows it, too.
    What it shows as an example of a request is the keys of five rows of the training set.

    Args:
        model: fitted on `training_set`: of scikit-learn, PyTorch, Keras, XGBoost and others that MLflow
            has a flavour for, or an `mlflow.pyfunc.PythonModel`.
        name: the logged model's name.
        training_set: what it learned from, or a part of it.
        flavor: the name of one of MLflow's flavours, or a module with its `save_model`; by default the one
            of the model's class.
        inputs: the model's inputs, in order: features, and other columns of the training set, which callers
            must send then. By default what the encoding encodes, what the model remembers
            (`feature_names_in_`), or all features.
        overrides: features that callers may send, in place of the look-up.
        encoding: what made tensors of the inputs; by default `Encoding.fit(training_set)` for PyTorch and
            Keras and none for others.
        layout: `"matrix"` if the model takes one array, `"columns"` if a data frame (with an encoding: a
            dict of arrays); by default what suits the model.
        store: the store that the features are from, by default the one that made the training set. Its lineage
            records the model; and it has the views' definitions, if the training set doesn't bring them along.
        registered_model_name: also register the model under this name.
        code_paths: files or folders that the model's class comes from. The code of on-demand views is packaged without.
        metadata: kept with the model.
        tags: further tags of the logged model.
        params: further parameters of the logged model.
        flavor_kwargs: passed on to the flavour's `save_model`, such as `pyfunc_predict_fn="predict_proba"`,
            `pip_requirements=[...]` or, for an estimator with types of other packages than scikit-learn,
            `skops_trusted_types=[...]`.

    Returns:
        `mlflow.models.model.ModelInfo`; `.model_uri` loads it.

    Raises:
        DataError: `training_set` is none.
        NotOnlineError: the training set was made with a lag, so no online row is ever like its rows.
        SchemaError: an input is no column of the training set.
        ConfigurationError: no flavour suits the model, or the definitions aren't to be had.
        TransformError: the code of an on-demand view isn't here, isn't what was registered, or can't be packaged.
    """
    from mlflow.models import Model

    require_training_set(training_set, "training_set")
    _refuse_offline(training_set)
    kind = inner.flavor_name(model, flavor)
    if encoding is None and kind in inner.ENCODED:
        encoding = Encoding.fit(training_set, features=inputs)
    names = _inputs(model, training_set, inputs, encoding)
    location = store_at_hand(training_set, store)
    features = _describe(training_set, names, overrides, layout or inner.input_layout(model, kind), encoding, location)
    info = Model.log(
        artifact_path=None,
        name=name,
        flavor=own_flavor,
        flavor_name="fs_mlflow",
        registered_model_name=registered_model_name,
        metadata=metadata,
        params=dict(params or {}),
        tags={**(tags or {}), **_tags(features)},
        validate_serving_input=False,  # the store needn't be where the model is logged
        package=own_flavor.Package(
            model=model,
            kind=kind,
            flavor=flavor,
            features=features,
            encoding=encoding,
            rows=_example_rows(training_set.table, names),
            settings=flavor_kwargs,
            code_paths=code_paths,
            code=code.of(features),
        ),
    )
    if location is not None:
        record_model(info, registered_model_name or name, kind, features, location)
    return info


def _refuse_offline(training_set: TrainingSet) -> None:
    if training_set.offline_only:
        raise NotOnlineError(
            f"the training set was made with lag={training_set.spec['lag']!r}: its rows are older than what is served "
            "online, so a model of them can't be packaged for serving. Declare the lag on the views, or train "
            "without lag=."
        )


def _inputs(
    model: Any, training_set: TrainingSet, inputs: Sequence[str] | None, encoding: Encoding | None
) -> tuple[str, ...]:
    """Return the model's inputs, in order."""
    asked = inputs if inputs is not None else encoding.features if encoding else inner.input_names(model)
    names = tuple(training_set.features if asked is None else asked)
    require_columns(names, training_set.table.column_names, "the training set")
    if encoding is not None and set(encoding.features) != set(names):
        raise DefinitionError(f"inputs={list(names)} are not what the encoding encodes: {list(encoding.features)}.")
    for label in training_set.labels:
        if label in names:
            raise SchemaError(f"{label!r} is the label, which nobody knows when the model is asked.")
    if not set(names) & set(training_set.features):
        raise SchemaError(
            f"the model takes {list(names)}, none of the training set's features. A pipeline that looks its features "
            "up itself (FeatureStoreTransformer) is logged with mlflow.sklearn.log_model."
        )
    return names


def _describe(
    training_set: TrainingSet,
    inputs: Sequence[str],
    overrides: Sequence[str],
    layout: Layout,
    encoding: Encoding | None,
    store: Location | None,
) -> PackagedFeatures:
    spec, table = training_set.spec, training_set.table
    pinned = [pin for pin in spec["features"] if pin["column"] in inputs]
    require_columns(overrides, [pin["column"] for pin in pinned], "the model's features")
    views = _views(training_set, _pins(pinned), store)
    asked = _selection(pinned, views, full_names=spec["full_names"])
    # What is looked up by may be narrower than what the model saw in training.
    keys = {name: _text(table, name) if name in inputs else canonical(d) for name, d in asked.key_types.items()}
    looked_up = {pin["column"] for pin in pinned}
    request = {name: _text(table, name) for name in inputs if name not in looked_up and name not in keys}
    request |= {name: canonical(dtype) for name, dtype in asked.requests.items() if name not in request}
    return PackagedFeatures(
        rule=spec["rule"],
        features=pinned,
        views=[view.to_dict() for view in views.values()],
        keys=keys,
        request=request,
        overrides={name: _text(table, name) for name in overrides},
        inputs=list(inputs),
        layout=layout,
        timestamp=training_set.timestamp,
        full_names=spec["full_names"],
        fingerprint=training_set.fingerprint,
        encoding_digest=None if encoding is None else encoding.digest,
    )


def _example_rows(table: pa.Table, inputs: Sequence[str]) -> pa.Table:
    """Return the first rows that have every input, if there are any: not every model takes a null."""
    import pyarrow.compute as pc

    whole = pa.chunked_array([pa.repeat(True, table.num_rows)])
    for name in inputs:
        whole = pc.and_(whole, pc.is_valid(table[name]))
    rows = table.filter(whole).slice(0, EXAMPLE_ROWS)
    return rows if len(rows) else table.slice(0, EXAMPLE_ROWS)


def _text(table: pa.Table, name: str) -> str:
    return canonical(resolve(table.schema.field(name).type, f"the model's input {name!r}"))


def _pins(pinned: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return version and digest of the views of features, and of those that computed ones read, by name."""
    found: dict[str, tuple[str, str]] = {}
    for pin in pinned:
        feature, _, version = pin["ref"].rpartition(":v")
        found[feature.partition(".")[0]] = version, pin["digest"]
        found |= {name: (read["version"], read["digest"]) for name, read in pin.get("reads", {}).items()}
    return found


def _selection(
    pinned: Sequence[Mapping[str, Any]], views: Mapping[str, FeatureView | OnDemandView], *, full_names: bool
) -> Selection:
    """Return what the model's features are looked up by and computed from."""
    asked = [pinned_as(p["ref"], p["column"], p.get("keys", {}), full_names, p.get("reads")) for p in pinned]
    return select_among(lambda name, _: views[name], asked, full_names=full_names)


def _views(
    training_set: TrainingSet, pins: Mapping[str, tuple[str, str]], store: Location | None
) -> dict[str, FeatureView | OnDemandView]:
    """Return the definitions of the model's views, from the training set or else the store."""
    found = {view.name: view for view in training_set.views if view.name in pins}
    missing = {name: pin for name, pin in pins.items() if name not in found}
    if missing:
        found |= _from_store(missing, store)
    return found


def _from_store(
    missing: Mapping[str, tuple[str, str]], store: Location | None
) -> dict[str, FeatureView | OnDemandView]:
    from fs_core.store import open_store

    try:
        opened = open_store(store)
    except ConfigurationError as error:
        raise ConfigurationError(
            "the training set doesn't bring its views' definitions along. Pass store=, or set FS_STORE."
        ) from error
    views: dict[str, FeatureView | OnDemandView] = {}
    for name, (version, digest) in missing.items():
        view = opened.registry.find(name, VersionSelector(version=version))
        if isinstance(view, FeatureService) or view.digest != digest:
            raise UnknownReferenceError(
                f"view {view.ref!r} means something else in this store than in the one that the training set was made "
                "in. Pass store= with that one."
            )
        views[name] = view
    return views


def _tags(features: PackagedFeatures) -> dict[str, str]:
    return {FINGERPRINT: features.fingerprint, "fs.rule": features.rule, **feature_tags(features.features)}
