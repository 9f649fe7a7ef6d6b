"""Spines and rows that are Spark data frames, also of Spark Connect: answered and read where they lie."""

from fs_core.retrieval.spark.answers import FrameProvenance, provenance

__all__ = ["FrameProvenance", "provenance"]
