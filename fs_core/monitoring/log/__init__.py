"""The request log: what was served to whom, when, and from which rows."""

from fs_core.monitoring.log.sample import LogSetting, log_setting
from fs_core.monitoring.log.writer import Flushed, LogWriter

__all__ = ["Flushed", "LogSetting", "LogWriter", "log_setting"]
