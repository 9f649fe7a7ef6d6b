"""Features as a step of a scikit-learn pipeline, and folds that respect time."""

from datetime import timedelta
from pathlib import Path

from fs_core import FeatureStore
from fs_sklearn.importance import feature_importance
from fs_sklearn.split import PointInTimeSplit
from fs_sklearn.transformer import FeatureStoreTransformer

SKOPS_TRUSTED_TYPES = [
    f"{kind.__module__}.{kind.__qualname__}"
    for kind in (FeatureStore, FeatureStoreTransformer, PointInTimeSplit, type(Path()), timedelta)
]
"""What `skops.io.load(..., trusted=SKOPS_TRUSTED_TYPES)` needs for our step and folds, whatever their settings."""

__all__ = ["SKOPS_TRUSTED_TYPES", "FeatureStoreTransformer", "PointInTimeSplit", "feature_importance"]
