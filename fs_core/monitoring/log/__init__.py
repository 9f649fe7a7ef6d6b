"""The request log: what was served to whom, when, and from which rows.

`writer` has the queue of what reads leave, which drops what comes when it is full, and the thread that writes it.
`rows` says which columns a log has, and `tables` where they lie; `reading` reads them.
"""

from fs_core.monitoring.log.sample import LogSetting, log_setting
from fs_core.monitoring.log.writer import Flushed, LogWriter

__all__ = ["Flushed", "LogSetting", "LogWriter", "log_setting"]
