"""The catalogue: a static site of everything that is registered, which opens from a file and fetches nothing."""

from fs_core.catalogue.build import Built, build

__all__ = ["Built", "build"]
