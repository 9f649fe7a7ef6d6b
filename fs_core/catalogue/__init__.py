"""The catalogue: a static site of everything that is registered, which opens from a file and fetches nothing."""

from fs_core.catalogue.build import Built, build
from fs_core.catalogue.contents import Origin

__all__ = ["Built", "Origin", "build"]
