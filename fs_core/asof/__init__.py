"""The as-of rule: which row of an entity counts at a moment."""

from fs_core.asof.rule import AVAILABLE_AT, EVENT_TIME, SEQ, STATUS, TIME, Status, history_schema, is_expired

__all__ = ["AVAILABLE_AT", "EVENT_TIME", "SEQ", "STATUS", "TIME", "Status", "history_schema", "is_expired"]
