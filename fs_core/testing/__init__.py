"""What certifies a back-end: the brute-force oracle of the rule, data for it, and the conformance suites.

Needs `pytest` and `hypothesis`, and loads them only when one of its names is used. A back-end is
certified by a subclass with one fixture:

    from fs_core.testing import OfflineStoreSuite

    class TestMyStore(OfflineStoreSuite):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fs_core.testing.offline_suite import OfflineStoreSuite
    from fs_core.testing.online_suite import OnlineStoreSuite
    from fs_core.testing.oracle import oracle_as_of, oracle_available_at, oracle_winners
    from fs_core.testing.parts_suite import PartsSuite
    from fs_core.testing.stream_suite import StreamSuite
    from fs_core.testing.window_oracle import oracle_windows

_HOMES = {
    "OfflineStoreSuite": "offline_suite",
    "OnlineStoreSuite": "online_suite",
    "PartsSuite": "parts_suite",
    "StreamSuite": "stream_suite",
    "oracle_as_of": "oracle",
    "oracle_available_at": "oracle",
    "oracle_winners": "oracle",
    "oracle_windows": "window_oracle",
}

__all__ = [
    "OfflineStoreSuite",
    "OnlineStoreSuite",
    "PartsSuite",
    "StreamSuite",
    "oracle_as_of",
    "oracle_available_at",
    "oracle_windows",
    "oracle_winners",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
