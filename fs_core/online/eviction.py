"""Servers that delete rows by themselves when their memory is full: said once, since nobody sees it at a read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fs_core.errors import OnlineStoreError
from fs_core.online.contract import EvictingStore

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.online.contract import OnlineStore

log = logging.getLogger("fs_core")

_said: set[str] = set()  # of which stores, in this process; a forked child needn't say again what its parent has


def warn_of_eviction(view: FeatureView, online: OnlineStore) -> None:
    """Say in the log, once a process, where an online store's server may delete rows of a view by itself."""
    place = repr(online)
    if place in _said or not isinstance(online, EvictingStore):
        return
    try:
        policy = online.eviction(expiring=view.ttl is not None or view.online_history is not None)
    except OnlineStoreError as error:  # who may ask nothing of the kind serves rows all the same
        log.debug("can't tell whether %s deletes rows by itself: %s", place, error)
        return
    if policy is None:
        return
    _said.add(place)
    log.warning(
        "%s deletes rows by itself when its memory is full (maxmemory-policy %s): reads then say of them that they are "
        "missing, without an error, and materialize doesn't bring them back; verify_online(repair=True) does. Set "
        "maxmemory-policy noeviction, with which a full server refuses new rows instead and materialize says so. "
        "A volatile-* policy is no way out: rows of views with a ttl, and those of online_history, carry an expiry.",
        place,
        policy,
    )
