"""Ray under the conformance suite of engines, where it is installed: `make engines`."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator

import pytest

from fs_core.retrieval.parts import SpinePart
from fs_core.testing import PartsSuite
from fs_core.testing.parts_suite import Answer
from tests.core.offline.objects.test_conformance import shorten

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: make engines", allow_module_level=True)

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray with two processes that answer."""
    import ray

    with (
        tempfile.TemporaryDirectory() as folder,  # a short path: Ray's sockets lie below it
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", _temp_dir=folder),
    ):
        yield


class TestRay(PartsSuite):
    """Ray's processes answer as the oracle does."""

    @pytest.fixture
    def answer(self, cluster: None) -> Answer:
        """A task for each part."""
        import ray

        task = ray.remote(SpinePart.answer)
        return lambda parts: ray.get([task.remote(part) for part in parts])


shorten(TestRay, 10)
