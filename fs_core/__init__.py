"""A feature store whose training rows and served rows come from one rule, proven bit for bit.

Definitions say what features mean; `FeatureStore` writes, retrieves and serves them. `fs_core.rule` states the
rule that decides which row counts at a moment, ttl included; `fs_core.errors` holds every error. `README.md` beside
this file has a map of the rooms, and says which file a change belongs to.
"""

from fs_core.definitions import (
    SQL,
    Aggregation,
    Definition,
    Entity,
    FeatureLookup,
    FeatureService,
    FeatureView,
    Field,
    OnDemandView,
    Request,
    Source,
    StreamSource,
    on_demand,
)
from fs_core.encoding import Encoding
from fs_core.errors import FeatureStoreError
from fs_core.rule import Status
from fs_core.store import FeatureStore
from fs_core.training_set import TrainingSet
from fs_core.values.schedule import Schedule

__version__ = "0.1.0"

__all__ = [
    "SQL",
    "Aggregation",
    "Definition",
    "Encoding",
    "Entity",
    "FeatureLookup",
    "FeatureService",
    "FeatureStore",
    "FeatureStoreError",
    "FeatureView",
    "Field",
    "OnDemandView",
    "Request",
    "Schedule",
    "Source",
    "Status",
    "StreamSource",
    "TrainingSet",
    "on_demand",
]
