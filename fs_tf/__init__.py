"""tf.data sources over training sets and streams, and the same tensors when serving."""
