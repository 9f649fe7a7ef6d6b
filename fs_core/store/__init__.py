"""The store as its users know it: `FeatureStore`, and a file for each thing that it does.

`history` writes rows, `pushes` takes live ones and `delivery` brings them online; `quarantine` shows and releases rows
that a view refused; `ingestion` takes streams. `training` retrieves, `online` reads, `unfilled` says why a read found
nothing, and `upkeep` fills, verifies, forgets and monitors. `definitions` applies and compares; `resources` is what all
stand on. What a method does in depth lies in the room that it belongs to.
"""

from fs_core.store.feature_store import FeatureStore, open_store

__all__ = ["FeatureStore", "open_store"]
