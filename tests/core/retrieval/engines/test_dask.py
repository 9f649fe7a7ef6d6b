"""Dask under the conformance suite of engines: with threads of this process, and with another process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import dask
import pytest

from fs_core.testing import PartsSuite
from fs_core.testing.parts_suite import Answer
from fs_core.testing.processes import FRESH
from tests.core.offline.objects.test_conformance import shorten


def dask_answers(**options: Any) -> Answer:
    """Return what has Dask answer parts, with options of `dask.compute`."""
    return lambda parts: dask.compute(*[dask.delayed(part.answer)() for part in parts], **options)


class TestThreads(PartsSuite):
    """Dask's threads answer as the oracle does."""

    @pytest.fixture
    def answer(self) -> Answer:
        """Two threads."""
        return dask_answers(scheduler="threads", num_workers=2)


class TestProcesses(PartsSuite):
    """Dask's processes answer as the oracle does, from what a pickle of a part holds."""

    @pytest.fixture(scope="class")
    @classmethod
    def pool(cls) -> Iterator[ProcessPoolExecutor]:
        """A process; it stays, as on a cluster."""
        with ProcessPoolExecutor(1, FRESH) as made:
            yield made

    @pytest.fixture
    def answer(self, pool: ProcessPoolExecutor) -> Answer:
        """That process."""
        return dask_answers(scheduler="processes", pool=pool)


shorten(TestThreads, 2)
shorten(TestProcesses)
