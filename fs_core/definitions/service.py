"""Feature services: the features one model takes, under one name and version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fs_core.definitions.base import Definition, check_name, check_version, freeze
from fs_core.definitions.references import Asked, FeatureLookup, Reference, to_plain
from fs_core.definitions.view import FeatureView
from fs_core.errors import DefinitionError


@dataclass(frozen=True, eq=False)
class FeatureService(Definition):
    """The features that one model takes, in order.

    Args:
        features: references: `view`, `view.*`, `view.feature`, each with an optional version, or a
            `FeatureLookup` of one; a view stands for its version. A reference without a version means the current
            one at the moment of use.

    Raises:
        DefinitionError: there is no feature, or a reference doesn't parse.
    """

    kind: ClassVar[str] = "service"

    name: str
    features: Sequence[Asked | FeatureView]
    version: str = "1.0.0"
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        what = f"service {self.name!r}"
        check_name(self.name, "service")
        check_version(self.version, what)
        self._check_documentation(what)
        if not isinstance(self.features, list | tuple) or not self.features:
            raise DefinitionError(f"{what} needs features, such as features=['user_stats.*'].")
        asked = [feature.ref if isinstance(feature, FeatureView) else feature for feature in self.features]
        for feature in asked:
            if not isinstance(feature, FeatureLookup):
                Reference.parse(feature)
        freeze(self, features=tuple(asked))

    @property
    def asked(self) -> tuple[Asked, ...]:
        """The features, each a reference or a lookup of one."""
        return self.features  # type: ignore[return-value]  # frozen into such a tuple above

    @property
    def references(self) -> list[str]:
        """The references, those of lookups among them, in order."""
        return [asked.ref if isinstance(asked, FeatureLookup) else asked for asked in self.asked]

    def content(self) -> dict[str, Any]:
        """Return the references, in order."""
        return {"features": [to_plain(asked) for asked in self.asked]}
