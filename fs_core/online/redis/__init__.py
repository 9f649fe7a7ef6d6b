"""The online store on Redis or Valkey: one packed row for each view and entity."""

from fs_core.online.redis.complaints import said_as_ours
from fs_core.online.redis.store import RedisOnlineStore

__all__ = ["RedisOnlineStore", "said_as_ours"]
