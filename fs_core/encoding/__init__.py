"""How columns become tensors: described once, fitted once, used in training and serving alike."""

from fs_core.encoding.bound import BoundTable
from fs_core.encoding.encoding import Encoding
from fs_core.encoding.online import EncodedReader

__all__ = ["BoundTable", "EncodedReader", "Encoding"]
