"""A warning where nothing that is served is alive any more, as when nobody materializes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from fs_core.rule import Status

log = logging.getLogger("fs_core")

_expired: set[str] = set()  # views already warned of, until one of their rows is present again


def warn_of_expiry(status: Mapping[str, Sequence[str]]) -> None:
    """Say in the log, once until it is over, that every row found of a view had expired.

    Args:
        status: by view name, each row's; see `FeatureVectors.status`.
    """
    for view, marks in status.items():
        if Status.PRESENT in marks:
            _expired.discard(view)
        elif Status.EXPIRED in marks and view not in _expired:
            _expired.add(view)
            log.warning(
                "view %s: every row that was found online is older than its ttl, so none is served. "
                "Was it materialized or pushed lately?",
                view,
            )
