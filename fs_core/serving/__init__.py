"""Online reads: the as-of rule at one moment, answered from the latest rows."""

from fs_core.serving.budget import Budget, Fallback, OnDeadline, budget
from fs_core.serving.cache import RowCache
from fs_core.serving.plan import ReadPlan
from fs_core.serving.read import OnlineRead
from fs_core.serving.vectors import FeatureVectors

__all__ = ["Budget", "Fallback", "FeatureVectors", "OnDeadline", "OnlineRead", "ReadPlan", "RowCache", "budget"]
