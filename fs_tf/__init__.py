"""tf.data sources over training sets and streams, and the same tensors when serving."""

from fs_tf.dataset import feature_dataset

__all__ = ["feature_dataset"]
