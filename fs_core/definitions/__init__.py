"""What a team declares: sources, entities, views, services, and how they are named.

`base` is what every definition shares. `source` knows which file ending means which format; who reads it is in
`fs_core.sources`.
"""

from fs_core.definitions.aggregation import Aggregation
from fs_core.definitions.base import Definition
from fs_core.definitions.entity import Entity
from fs_core.definitions.field import Field, Request
from fs_core.definitions.on_demand import OnDemandView, on_demand
from fs_core.definitions.references import FeatureLookup, Reference, VersionSelector
from fs_core.definitions.service import FeatureService
from fs_core.definitions.source import SQL, Source
from fs_core.definitions.stored import from_dict
from fs_core.definitions.stream import StreamSource
from fs_core.definitions.view import FeatureView

__all__ = [
    "SQL",
    "Aggregation",
    "Definition",
    "Entity",
    "FeatureLookup",
    "FeatureService",
    "FeatureView",
    "Field",
    "OnDemandView",
    "Reference",
    "Request",
    "Source",
    "StreamSource",
    "VersionSelector",
    "from_dict",
    "on_demand",
]
