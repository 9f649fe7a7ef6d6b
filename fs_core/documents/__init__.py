"""Definitions as YAML: one document each, for people, reviews and version control."""

from fs_core.documents.reading import read
from fs_core.documents.writing import write

__all__ = ["read", "write"]
