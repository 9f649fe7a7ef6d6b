"""Drift: whether values are distributed otherwise than before, and whether that is more than noise."""
