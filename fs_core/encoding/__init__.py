"""How columns become tensors: described once, fitted once, used in training and serving alike."""

from fs_core.encoding.encoding import BoundTable, Encoding

__all__ = ["BoundTable", "Encoding"]
