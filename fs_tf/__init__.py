"""tf.data sources over training sets and streams, and the same tensors when serving."""

from fs_tf.dataset import feature_dataset
from fs_tf.online import OnlineFeatures
from fs_tf.stream import stream_dataset

__all__ = ["OnlineFeatures", "feature_dataset", "stream_dataset"]
