"""How columns become tensors: described once, fitted once, used in training and serving alike."""

from fs_core.encoding.encoding import BoundTable, Encoding
from fs_core.serving.encoded import EncodedReader

__all__ = ["BoundTable", "EncodedReader", "Encoding"]
