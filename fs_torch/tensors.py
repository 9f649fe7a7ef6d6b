"""From an encoding's arrays to tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from fs_core import Encoding
from fs_core.encoding import BoundTable
from fs_core.errors import ConfigurationError

Layout = Literal["matrix", "columns"]
Transform = Callable[[Any], Any]

_ENCODED_AS = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "float32",  # NumPy has none: encoded wider, then rounded
}


@dataclass(frozen=True)
class Form:
    """What tensors look like.

    Attributes:
        dtype: of the matrix, and of columns that aren't whole.
        layout: one matrix, or a dict of columns.
        transform: what is done to a batch's features.
    """

    dtype: torch.dtype
    layout: Layout
    transform: Transform | None = None

    def __post_init__(self) -> None:
        numpy_dtype(self.dtype)
        if self.layout not in get_args(Layout):
            raise ConfigurationError(f"layout={self.layout!r} is not understood. Pass 'matrix' or 'columns'.")

    def fits(self, encoding: Encoding) -> Form:
        """Return this form in the encoding's own dtype; refuse one that was asked for and isn't it."""
        if _ENCODED_AS[self.dtype] == encoding.dtype.name:
            return self
        if self.dtype != torch.float32:  # which is what is passed by who passes none
            raise ConfigurationError(
                f"dtype={self.dtype}, but the encoding was fitted for {encoding.dtype}. Leave dtype out, or fit for it."
            )
        return Form(getattr(torch, encoding.dtype.name), self.layout, self.transform)

    def features(self, bound: BoundTable, rows: Any = slice(None)) -> Any:
        """Return rows of a table, not yet transformed: a matrix [rows, width] or a dict of columns, fresh."""
        if self.layout == "matrix":
            return self.tensor(bound.matrix(rows))
        return {name: self.tensor(array) for name, array in bound.columns(rows).items()}

    def transformed(self, features: Any) -> Any:
        """Return what the caller wants made of a batch's features."""
        return features if self.transform is None else self.transform(features)

    def tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        """Return an array that is nobody else's as a tensor."""
        tensor = torch.from_numpy(array)
        return tensor.to(self.dtype) if tensor.is_floating_point() and tensor.dtype != self.dtype else tensor


def numpy_dtype(dtype: torch.dtype) -> str:
    """Return the name of the dtype in which an encoding makes what becomes `dtype`.

    Raises:
        ConfigurationError: it is no float.
    """
    if dtype not in _ENCODED_AS:
        names = ", ".join(str(name) for name in _ENCODED_AS)
        raise ConfigurationError(
            f"dtype={dtype!r}: features become one of {names}. For whole numbers as they are, pass layout='columns'."
        )
    return _ENCODED_AS[dtype]
