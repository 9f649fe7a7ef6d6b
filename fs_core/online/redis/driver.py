"""The redis package, loaded with the first call that needs it."""

from __future__ import annotations

from functools import cache
from typing import Any

from fs_core.errors import ConfigurationError


def driver() -> Any:
    """Return the redis package.

    Raises:
        ConfigurationError: it isn't installed.
    """
    try:
        import redis
    except ImportError:
        raise ConfigurationError("serving from Redis needs the redis package: pip install 'fs-core[redis]'.") from None
    return redis


@cache
def driver_errors() -> tuple[type[Exception], ...]:
    """Return what the driver raises: `OSError`, and every exception it defines (not all are `RedisError`s)."""
    kinds = vars(driver().exceptions).values()
    return OSError, *(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


@cache
def exchange_errors() -> tuple[type[Exception], ...]:
    """Return what sending a command and taking its replies apart raises."""
    return *driver_errors(), ValueError
