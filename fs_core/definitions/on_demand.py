"""On-demand views: features that a function, or SQL expressions, compute from other features and from the request.

Or, with `when="write"`, columns of a feature view that are computed as its rows are written.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import pyarrow as pa

from fs_core.code import Code, code_of, remember
from fs_core.definitions.base import (
    Definition,
    check_name,
    check_unique,
    check_version,
    freeze,
)
from fs_core.definitions.field import Field, Request
from fs_core.definitions.references import CURRENT, Asked, FeatureLookup, Reference, from_plain, to_plain
from fs_core.errors import DefinitionError, did_you_mean
from fs_core.values import dtypes

MODES = ("numpy", "pandas", "polars", "arrow")
"""What a function may be called with."""

WHEN = ("read", "write")
"""When a view is computed."""


@dataclass(frozen=True, eq=False)
class OnDemandView(Definition):
    """Features that are computed from other features and from request columns, by the same code on both sides.

    It is made by `on_demand`, and stays callable as the function was; or here, from SQL expressions.

    Args:
        name: how references name it; it shares one namespace with views and services.
        inputs: references to single features (`"purchases.amount_mean_30d"`), or `FeatureLookup`s of one, and
            `Request` columns. The function's parameters, or the expressions' columns, carry the features' names (or
            those that a look-up gives); where two features share one, both are called `view__feature`.
        fields: what is computed, in the types that the function returns.
        expressions: an SQL expression for each field; it sees the inputs of one row.
        function: called with a column for each input, by name; returns one column for one field, else a mapping.
        mode: what the function's columns are: `"numpy"` arrays, `"pandas"` or `"polars"` series, `"arrow"` arrays.
        version: `major.minor.patch`; a registered version never changes.
        when: `"read"`, whenever its features are asked for; or `"write"`, as rows of one feature view are written: the
            inputs are columns of that view, which lists this one among its `transforms` and stores the fields as
            its own. Version, owner and tags are that view's then.
        code: what the function was when it was registered; the registry's, for a definition without its function.
        tried: what it was tried with when it was registered: the types of its inputs, the versions of libraries.

    Raises:
        DefinitionError: names clash, an input or field is missing, the function's parameters aren't the inputs;
            or it is computed as rows are written and takes more than columns of one view.
    """

    kind: ClassVar[str] = "on_demand"

    name: str
    inputs: Sequence[Asked | Request]
    fields: Sequence[Field]
    expressions: Mapping[str, str] | None = None
    function: Callable[..., Any] | None = None
    mode: str | None = None
    version: str = "1.0.0"
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    when: str = "read"
    code: Code | None = None
    tried: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        what = f"on-demand view {self.name!r}"
        check_name(self.name, "on-demand view", joinable=True)
        check_version(self.version, what)
        self._check_documentation(what)
        freeze(self, inputs=_inputs(self.inputs, what), fields=_fields(self.fields, what))
        check_unique([*(r.name for r in self.requests.values()), *self.features], f"{what}: request columns and fields")
        if self.expressions is None:
            self._check_function(what)
        else:
            freeze(self, expressions=self._checked_expressions(what))
        self._check_when(what)

    def _check_when(self, what: str) -> None:
        if self.when not in WHEN:
            raise DefinitionError(f"{what}: when is {self.when!r}; pass 'read' or 'write'.")
        if self.when == "read":
            return
        for given in self.inputs:
            if isinstance(given, Request):
                raise DefinitionError(
                    f"{what}: request column {given.name!r} isn't known as rows are written. Leave it out, or compute "
                    "when features are read: when='read'."
                )
            if not isinstance(given, str) or Reference.parse(given).selector != CURRENT:
                raise DefinitionError(
                    f"{what}: input {given!r} is more than a column of the rows that are written. Write 'view.column'."
                )
        views = list(dict.fromkeys(_reference(ref).name for ref in self.references))
        if len(views) > 1:
            raise DefinitionError(
                f"{what}: rows are written to one view, and its inputs are of {' and '.join(map(repr, views))}. Take "
                "columns of one, or compute when features are read: when='read'."
            )
        if (self.version, self.owner, dict(self.tags)) != ("1.0.0", "", {}):
            raise DefinitionError(
                f"{what}: with when='write' it is a part of view {views[0]!r}, whose version, owner and tags are its "
                "own. Leave these out."
            )

    @property
    def origin(self) -> str | None:
        """The name of the feature view whose columns it takes as rows are written; None if computed at reads."""
        return _reference(self.references[0]).name if self.when == "write" else None

    def _check_function(self, what: str) -> None:
        freeze(self, mode=self.mode or "numpy")
        if self.mode not in MODES:
            raise DefinitionError(f"{what}: there is no mode {self.mode!r}.{did_you_mean(str(self.mode), MODES)}")
        if self.function is None and self.code is None:
            raise DefinitionError(f"{what} computes nothing. Use @on_demand on a function, or pass expressions.")
        if self.function is not None:
            _check_parameters(self.function, list(self.columns), what)
            remember(self.function)

    def _checked_expressions(self, what: str) -> Mapping[str, str]:
        if self.function is not None or self.mode is not None:
            raise DefinitionError(f"{what}: expressions stand alone. Leave function and mode out.")
        given = self.expressions
        texts = isinstance(given, Mapping) and all(isinstance(t, str) and t.strip() for t in given.values())
        if not isinstance(given, Mapping) or not texts:
            raise DefinitionError(f"{what}: expressions is {given!r}; pass a mapping of each field to its SQL.")
        for name in [*given, *self.features]:
            if name not in self.features:
                raise DefinitionError(f"{what}: expression {name!r} is no field.{did_you_mean(name, self.features)}")
            if name not in given:
                raise DefinitionError(f"{what}: field {name!r} has no expression.")
        return MappingProxyType({name: given[name].strip() for name in self.features})

    def __call__(self, *columns: Any, **named: Any) -> Any:
        """Call the function itself."""
        if self.function is None:
            raise DefinitionError(
                f"on-demand view {self.name!r} was read from where no function is kept. Import the one it was made of, "
                "or ask a store for the view's features."
            )
        return self.function(*columns, **named)

    @cached_property
    def columns(self) -> Mapping[str, Asked | Request]:
        """The inputs by the names under which the function or the expressions see them, in order."""
        plain = [_name_of(given) for given in self.inputs]
        named: dict[str, Asked | Request] = {}
        for given, name in zip(self.inputs, plain, strict=True):
            twice = isinstance(given, str) and plain.count(name) > 1
            named[f"{Reference.parse(given).name}__{name}" if twice else name] = given  # type: ignore[arg-type]
        return MappingProxyType(named)

    @cached_property
    def lookups(self) -> Mapping[str, FeatureLookup]:
        """The features that are read, by the names of `columns`."""
        found = {name: given for name, given in self.columns.items() if not isinstance(given, Request)}
        return MappingProxyType(
            {n: FeatureLookup(given) if isinstance(given, str) else given for n, given in found.items()}
        )

    @property
    def references(self) -> tuple[str, ...]:
        """The references among the inputs, in order, those of look-ups too."""
        return tuple(lookup.ref for lookup in self.lookups.values())

    @cached_property
    def requests(self) -> Mapping[str, Request]:
        """The request columns that are read, by name."""
        return MappingProxyType({given.name: given for given in self.inputs if isinstance(given, Request)})

    @cached_property
    def features(self) -> Mapping[str, pa.DataType]:
        """The features, in order: name to Arrow type."""
        return MappingProxyType({f.name: f.type for f in self.fields})

    @property
    def clocks(self) -> tuple[str, ...]:
        """As `FeatureView.clocks`: what is computed has no times."""
        return ()

    @property
    def outputs(self) -> tuple[Field, ...]:
        """The features as fields, with descriptions."""
        return tuple(self.fields)

    @cached_property
    def identity(self) -> Code | None:
        """What the function is: as registered, else as it is here; None for expressions.

        Raises:
            DefinitionError: the function's source can't be read.
        """
        return self.code if self.code is not None or self.function is None else code_of(self.function)

    def content(self) -> dict[str, Any]:
        """Return inputs and fields with their types, and the expressions, or the function's code."""
        code = self.identity
        made = {"expressions": dict(self.expressions or {})} if code is None else {"mode": self.mode, **code.content()}
        return {
            "inputs": [_input_content(given) for given in self.inputs],
            "fields": [f.content() for f in self.fields],
            **made,
            **({} if self.when == "read" else {"when": self.when}),
        }

    def documentation(self) -> dict[str, Any]:
        """Return what people read."""
        described = {f.name: f.description for f in self.fields}
        requests = {request.name: request.description for request in self.requests.values()}
        return {**super().documentation(), "fields": described, "requests": requests}

    def to_dict(self) -> dict[str, Any]:
        """Return the whole definition, and what it was tried with, if it was."""
        return {**super().to_dict(), **({} if self.tried is None else {"tried": dict(self.tried)})}

    @cached_property
    def _text(self) -> str:
        """What is compared: all but what it was tried with."""
        return json.dumps(super().to_dict(), sort_keys=True)

    def __getstate__(self) -> dict[str, Any]:
        # Code travels by its import path: a function is never pickled.
        return {**super().__getstate__(), "function": None, "code": self.identity}


def on_demand(
    *,
    inputs: Sequence[Asked | Request],
    fields: Sequence[Field],
    version: str = "1.0.0",
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
    mode: str = "numpy",
    name: str | None = None,
    when: str = "read",
) -> Callable[[Callable[..., Any]], OnDemandView]:
    """Make a function an on-demand view, which is called with columns in training and in serving alike.

    Args:
        inputs: references to single features, and `Request` columns; the function's parameters have their names.
        fields: what it returns, in the types that it returns.
        version: `major.minor.patch`.
        description: what it means; by default the function's docstring.
        owner: who answers for it.
        tags: text by text.
        mode: `"numpy"`, `"pandas"`, `"polars"` or `"arrow"`.
        name: by default the function's.
        when: `"read"`, or `"write"` for columns that a feature view stores; see `OnDemandView`.

    Raises:
        DefinitionError: as `OnDemandView`.
    """

    def made(function: Callable[..., Any]) -> OnDemandView:
        if not inspect.isfunction(function):
            raise DefinitionError(f"@on_demand is for functions, not for {function!r}.")
        return OnDemandView(
            name or function.__name__,
            inputs,
            fields,
            function=function,
            mode=mode,
            version=version,
            description=description or inspect.getdoc(function) or "",
            owner=owner,
            tags=tags or {},
            when=when,
        )

    return made


def _inputs(inputs: Any, what: str) -> tuple[Asked | Request, ...]:
    if not isinstance(inputs, list | tuple) or not inputs:
        raise DefinitionError(f"{what}: inputs is {inputs!r}; pass a list of references and Request columns.")
    for given in inputs:
        if not isinstance(given, str | FeatureLookup | Request):
            raise DefinitionError(f"{what}: input {given!r} is neither a reference nor a Request.")
        if not isinstance(given, Request) and _reference(given).feature is None:
            raise DefinitionError(f"{what}: input {given!r} names no feature. Name one, such as 'view.amount'.")
    features = [given for given in inputs if not isinstance(given, Request)]
    requests = [given.name for given in inputs if isinstance(given, Request)]
    plain = [f"{_reference(given).name}.{_reference(given).feature}" for given in features if isinstance(given, str)]
    check_unique(plain, f"{what}: inputs")
    check_unique(
        [_name_of(given) for given in features if isinstance(given, FeatureLookup)], f"{what}: names of look-ups"
    )
    shared = sorted({_name_of(given) for given in features} & set(requests))
    if shared:
        raise DefinitionError(f"{what}: {shared[0]!r} is a feature and a request column. Rename the request column.")
    check_unique(requests, f"{what}: request columns")
    return tuple(inputs)


def _reference(given: Asked) -> Reference:
    return Reference.parse(given if isinstance(given, str) else given.ref)


def _name_of(given: Asked | Request) -> str:
    """Return what an input is called, as long as no other is called so."""
    if isinstance(given, Request):
        return given.name
    feature = str(_reference(given).feature)
    return feature if isinstance(given, str) else given.rename.get(feature, given.prefix + feature)


def _fields(fields: Any, what: str) -> tuple[Field, ...]:
    found = tuple(fields) if isinstance(fields, list | tuple) else ()
    if not found or not all(isinstance(f, Field) for f in found):
        raise DefinitionError(f"{what}: fields is {fields!r}; pass a list with at least one Field.")
    for f in found:
        if (f.minimum, f.maximum, f.nullable, f.allowed, f.max_null_rate) != (None, None, True, None, None):
            raise DefinitionError(
                f"{what}: field {f.name!r} has a rule for writes, and this is computed. Leave minimum, maximum, "
                "nullable, allowed and max_null_rate out."
            )
    check_unique([f.name for f in found], f"{what}: fields")
    return found


def _check_parameters(function: Callable[..., Any], columns: Sequence[str], what: str) -> None:
    if not inspect.isfunction(function):
        raise DefinitionError(f"{what}: function is {function!r}; pass a function that is defined by def.")
    taken = inspect.signature(function).parameters.values()
    named = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [p.name for p in taken if p.name in named and p.default is p.empty]
    if any(p.kind is p.POSITIONAL_ONLY for p in taken):
        raise DefinitionError(f"{what}: the function is called by name. Drop the / from its parameters.")
    anything = any(p.kind is p.VAR_KEYWORD for p in taken)
    unknown = [] if anything else [name for name in columns if name not in named]
    missing = [name for name in needed if name not in columns]
    if unknown or missing:
        raise DefinitionError(
            f"{what}: the function takes {', '.join(named) or 'nothing'}, and its inputs are {', '.join(columns)}. "
            "Call the parameters what the inputs are called."
        )


def _input_content(given: Asked | Request) -> Any:
    if isinstance(given, Request):
        return {"request": given.name, "dtype": dtypes.canonical(given.type)}
    return to_plain(given)


def input_from_plain(given: Any, described: Mapping[str, str]) -> Asked | Request:
    """Return an input from what `content` has of it.

    Args:
        given: text, or the mapping of a look-up or a request column.
        described: the request columns' descriptions, by name.
    """
    if isinstance(given, Mapping) and "request" in given:
        return Request(given["request"], given["dtype"], described[given["request"]])
    return from_plain(given)
