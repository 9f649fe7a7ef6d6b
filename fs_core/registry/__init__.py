"""The registry: what is defined, in which versions, and which are current; a database that processes share."""

from fs_core.registry.changes import ApplyResult, Change, Difference
from fs_core.registry.lifecycle import Alias, Moved
from fs_core.registry.registry import Registered, Registry

__all__ = ["Alias", "ApplyResult", "Change", "Difference", "Moved", "Registered", "Registry"]
