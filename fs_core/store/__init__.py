"""The store as its users know it: `FeatureStore`, whose methods are functions of its resources, by what they work on.

`definitions/` applies and compares what a team declares. `history/` brings rows into history and out of it, `live/`
takes pushes and streams, and brings them online. `training` looks features up by the rule, and `saved_sets` keeps
training sets. `materialization` fills, verifies and empties the online store, and `online` reads from it.
`request_log` keeps what was read, and `monitoring` compares it with the rule and watches for drift. `forget` erases
entities from all of these; `resources` is what all stand on, and `requests` keeps what they resolved. What a method
does in depth lies in the room of the core that has its name: what is here says only in which order rooms are asked.
"""

from fs_core.store.feature_store import FeatureStore, open_store

__all__ = ["FeatureStore", "open_store"]
