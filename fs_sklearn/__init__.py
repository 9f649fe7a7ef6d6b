"""Features as a step of a scikit-learn pipeline, and folds that respect time."""

from fs_sklearn.split import PointInTimeSplit
from fs_sklearn.transformer import FeatureStoreTransformer

SKOPS_TRUSTED_TYPES = ["fs_core.store.FeatureStore", "fs_sklearn.transformer.FeatureStoreTransformer"]
"""What `skops.io.load(..., trusted=SKOPS_TRUSTED_TYPES)` needs to load a pipeline with our step in it."""

__all__ = ["SKOPS_TRUSTED_TYPES", "FeatureStoreTransformer", "PointInTimeSplit"]
