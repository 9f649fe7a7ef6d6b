"""The request log: what was served to whom, when, and from which rows.

`sample` says which rows of a read are logged, `served` what is kept of them. `writer` has the queue of that, which
drops what comes when it is full, and the thread that writes it. `rows` says which columns a log has, `tables` where
they lie; `reading` reads them. `outcomes` are what was predicted and came true, and `forget` takes somebody's rows out.
"""

from fs_core.monitoring.log.sample import LogSetting, log_setting
from fs_core.monitoring.log.writer import Flushed, LogWriter

__all__ = ["Flushed", "LogSetting", "LogWriter", "log_setting"]
