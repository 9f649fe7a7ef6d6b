"""How columns become tensors: described once, fitted once, used in training and serving alike."""

from fs_core.encoding.bound import BoundTable
from fs_core.encoding.encoding import Encoding

__all__ = ["BoundTable", "Encoding"]
