"""A cluster of Dask's under the conformance suite of engines, where `distributed` is installed: `make engines`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from fs_core.testing import PartsSuite
from fs_core.testing.parts_suite import Answer
from tests.core.offline.objects.test_conformance import shorten
from tests.core.retrieval.engines.test_dask import dask_answers

if importlib.util.find_spec("distributed") is None:
    pytest.skip("Dask's cluster is not installed: make engines", allow_module_level=True)

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A client of two workers, each a process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made,
        Client(made) as client,
    ):
        yield client


class TestDistributed(PartsSuite):
    """Answers come over the network with all that joins them."""

    @pytest.fixture
    def answer(self, cluster: Any) -> Answer:
        """The cluster."""
        return dask_answers(scheduler=cluster)


shorten(TestDistributed, 10)
