"""The conformance suite of online back-ends: what `OnlineStore` promises, on a real store."""

from __future__ import annotations

import pytest

from fs_core.online.contract import OnlineStore
from fs_core.testing.online_suite.concurrency import ConcurrentRows
from fs_core.testing.online_suite.order import WriteOrder
from fs_core.testing.online_suite.reads import Reads
from fs_core.testing.online_suite.removal import Removal
from fs_core.testing.online_suite.rows import (
    Order,
    new_view,
    packed,
    shuffled,
    version_of,
    versioned,
    write_versions,
)
from fs_core.testing.online_suite.splicing import Splicing
from fs_core.testing.online_suite.watermarks import Watermarks

__all__ = ["OnlineStoreSuite", "Order", "new_view", "packed", "shuffled", "version_of", "versioned", "write_versions"]


class OnlineStoreSuite(Reads, WriteOrder, Splicing, Removal, Watermarks, ConcurrentRows):
    """Subclass it with a fixture `store` that returns an `OnlineStore`, new or not; pytest does the rest.

    Every test uses views of its own. If the store was configured with a password, say it in `secret`.
    """

    secret: str | None = None

    @pytest.fixture
    def store(self) -> OnlineStore:
        """The back-end to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named store")

    def test_the_contract_is_met(self, store: OnlineStore) -> None:
        """The store has every method of the contract."""
        assert isinstance(store, OnlineStore)

    def test_no_password_is_shown(self, store: OnlineStore) -> None:
        """What the store says of itself names its kind and no password."""
        assert type(store).__name__ in repr(store)
        assert self.secret is None or self.secret not in f"{store!r} {store}"
