"""Training sets kept in the store's directory: Parquet, the spec each was made by, and a fingerprint that proves it.

A name's directory holds parts, one for each time rows were added, and a manifest that lists them. The manifest is
replaced in one step, so a set is there whole or not at all; a file that no manifest lists is what a killed process
left, and the next one that writes removes it.
"""

from fs_core.retrieval.saved.manifest import SavedPart, SavedTrainingSet

__all__ = ["SavedPart", "SavedTrainingSet"]
