"""Replay: every logged row against what the rule says of its moment."""

from fs_core.monitoring.replay.report import Difference, ReplayReport
from fs_core.monitoring.replay.run import OVERLAP, replay

__all__ = ["OVERLAP", "Difference", "ReplayReport", "replay"]
