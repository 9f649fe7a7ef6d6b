"""The store as its users know it: `FeatureStore`, and a file for each thing that it does.

What a method does in depth lies in the room that it belongs to.
"""

from fs_core.store.feature_store import FeatureStore, open_store

__all__ = ["FeatureStore", "open_store"]
