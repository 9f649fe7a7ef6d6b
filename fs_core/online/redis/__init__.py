"""The online store on Redis or Valkey: one packed row for each view and entity."""

from fs_core.online.redis.store import RedisOnlineStore

__all__ = ["RedisOnlineStore"]
