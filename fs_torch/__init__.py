"""PyTorch datasets over training sets and streams, and the same tensors when serving."""

from fs_torch.dataset import FeatureDataset
from fs_torch.iterable import FeatureIterableDataset
from fs_torch.online import OnlineFeatures

__all__ = ["FeatureDataset", "FeatureIterableDataset", "OnlineFeatures"]
