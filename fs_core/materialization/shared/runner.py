"""Who has a cluster do the runs of a view, and keeps how far they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, OnlineStoreError
from fs_core.materialization.shared.run import SharedRun
from fs_core.materialization.watermark import Progress, ViewProgress, lost, progress_of
from fs_core.offline.contract import DividedHistory, Portions
from fs_core.online.sqlite import SQLiteOnlineStore

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore, Snapshot, Watermark
    from fs_core.online.contract import OnlineStore


class Cluster(Protocol):
    """Machines that do a run together."""

    def send(self, run: SharedRun, portions: Sequence[Any]) -> Iterable[tuple[int, int]]:
        """Do a run; return what the tasks say in the end, as in `SENT`.

        `run.found` is called with each portion, anywhere; its rows, in `FOUND`, are brought together by key, and
        `run.sent` is called with batches in `GATHERED`, each key in one of them. A call that fails may be repeated.

        Args:
            run: which; picklable.
            portions: at least one.

        Raises:
            OnlineStoreError: a task failed, more often than is tolerated.
        """
        ...


@dataclass(frozen=True)
class SharedRunner:
    """Does runs of a view on a cluster; this process keeps how far they are.

    Attributes:
        view: whose rows.
        offline: history.
        online: the online store.
        cluster: does what is to be done.
    """

    view: FeatureView
    offline: OfflineStore
    online: OnlineStore
    cluster: Cluster

    def missing(
        self,
        until: int,
        since: Watermark | None,
        snapshot: Snapshot | None = None,
        after: int | None = None,  # noqa: ARG002  # whoever looks at a portion leaves it out
    ) -> Portions:
        """See `Runner.missing`; nothing is read."""
        assert isinstance(self.offline, DividedHistory)
        return self.offline.portions(self.view, until=until, since=since, snapshot=snapshot)

    def send(self, missing: Portions, progress: Progress, kept: ViewProgress) -> tuple[int, int]:
        """See `Runner.send`.

        Each task takes back what it has sent of entities that were forgotten. Of one that died nobody knows, so where
        any were, the run stays suspect, and the next one compares every row.
        """
        tasks: Iterable[tuple[int, int]] = []
        if missing.portions:
            kept.keep(progress)  # who forgets entities from now on knows of this run
            run = SharedRun(self.view, self.offline, self.online, progress)
            try:
                tasks = list(self.cluster.send(run, missing.portions))
            except OnlineStoreError as error:
                held = progress_of(self.online, self.view)
                if held is None or held.generation != progress.generation:
                    raise lost(self.view) from error
                raise
        kept.keep(progress.finished())
        return sum(rows for rows, _ in tasks), sum(applied for _, applied in tasks)


def refuse_alone(offline: OfflineStore, online: OnlineStore) -> None:
    """Refuse stores that many machines can't use together.

    Args:
        offline: history.
        online: the online store.

    Raises:
        ConfigurationError: the online store is a file of one machine, or history can't be read in portions.
    """
    if isinstance(online, SQLiteOnlineStore):
        raise ConfigurationError(
            f"Spark can't materialize into {online!r}: other machines can't write to a file of this one. Open the "
            "store with online='redis://...' or 'dynamodb://...', or leave out spark=."
        )
    if not isinstance(offline, DividedHistory):
        raise ConfigurationError(
            f"Spark can't materialize from {offline!r}, which can't be read in portions: it lacks what "
            "fs_core.offline.contract.DividedHistory says. Leave out spark=."
        )
