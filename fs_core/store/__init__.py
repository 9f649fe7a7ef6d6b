"""The store as its users know it: one object, and a room for each thing it does."""

from fs_core.store.feature_store import FeatureStore, open_store

__all__ = ["FeatureStore", "open_store"]
