"""PyTorch datasets over training sets and streams, and the same tensors when serving."""
