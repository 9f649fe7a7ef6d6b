"""What backfills, materializations and training sets do, in terms that OpenLineage has words for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fs_core.definitions import SQL, FeatureView, OnDemandView, Source
from fs_core.lineage import nodes
from fs_core.lineage.sql.flow import SOME
from fs_core.registry.records import Edge

if TYPE_CHECKING:
    from fs_core.training_set import TrainingSet


@dataclass(frozen=True)
class Column:
    """A column that another comes from.

    Attributes:
        dataset: whose it is.
        name: its name.
        direct: whether values flow, or the column only decides which do.
    """

    dataset: Dataset
    name: str
    direct: bool


@dataclass(frozen=True)
class Dataset:
    """Data that is read or written.

    Attributes:
        namespace: where names are unique: a file system, a bucket, a feature store.
        name: its name there.
        fields: name, type and description of each column, as far as known.
        columns: by column, what it comes from.
        rows: what decides which rows there are.
    """

    namespace: str
    name: str
    fields: Sequence[tuple[str, str, str]] = ()
    columns: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    rows: Sequence[Column] = ()


@dataclass
class Activity:
    """A job that runs.

    Attributes:
        job: its name, the same at every run.
        inputs: what is read.
        outputs: what is written.
        sql: the query that is run.
        written: how many rows were written, once that is known.
    """

    job: str
    inputs: Sequence[Dataset]
    outputs: Sequence[Dataset]
    sql: str = ""
    written: int | None = None


def backfill(
    project: str, view: FeatureView, tables: Iterable[Source | FeatureView], directory: Path, edges: Sequence[Edge]
) -> Activity:
    """Return the run of a view's source into its history.

    Args:
        project: the store's name.
        view: what is filled.
        tables: what its query reads.
        directory: where relative paths are looked up.
        edges: those that lead to the view and its features.
    """
    read = {table.name: _table(project, table, directory) for table in tables}
    columns = {
        name: _columns(nodes.feature(view.name, name, view.version), edges, read) for name in view.features
    }  # fmt: skip
    rows = _columns(nodes.view(view.name, view.version), edges, read)
    history = Dataset(_store(project), view.ref, _fields(view), {n: c for n, c in columns.items() if c}, rows)
    query = view.source.query if isinstance(view.source, SQL) else ""
    return Activity(f"backfill.{view.name}", list(read.values()), [history], query)


def backfill_of_data(project: str, view: FeatureView) -> Activity:
    """Return the backfill of a view's history with data that somebody has."""
    return Activity(f"backfill.{view.name}", [], [_history(project, view)])


def materialize(project: str, view: FeatureView) -> Activity:
    """Return the copy of a view's latest rows to where they are served."""
    history = _history(project, view)
    columns = {name: [Column(history, name, direct=True)] for name in view.features}
    online = Dataset(_store(project), f"{view.ref}/online", _fields(view), columns)
    return Activity(f"materialize.{view.name}", [history], [online])


def training_set(project: str, views: Iterable[FeatureView]) -> Activity:
    """Return the making of a training set, whose name is known when it is done: see `add_training_set`."""
    return Activity("training_set", [_history(project, view) for view in views], [])


def add_training_set(activity: Activity, project: str, made: TrainingSet) -> None:
    """Add what was made to an activity.

    Args:
        activity: the making.
        project: the store's name.
        made: the training set.
    """
    read = {(view.name, view.version): _history(project, view) for view in made.views}
    columns: dict[str, list[Column]] = {}
    for part in made.spec["features"]:
        name, _, version = part["ref"].rpartition(":v")
        view, _, feature = name.partition(".")
        columns[part["column"]] = [Column(read[view, version], feature, direct=True)]
    fields = [(f.name, str(f.type), "") for f in made.table.schema]
    table = Dataset(_store(project), f"training_set/{made.fingerprint}", fields, columns)
    activity.outputs, activity.written = [table], len(made)


def _store(project: str) -> str:
    return f"feature-store://{project}"


def _history(project: str, view: FeatureView | OnDemandView) -> Dataset:
    return Dataset(_store(project), view.ref, _fields(view))


def _fields(view: FeatureView | OnDemandView) -> list[tuple[str, str, str]]:
    keys = [] if isinstance(view, OnDemandView) else [(name, str(dtype), "") for name, dtype in view.keys.items()]
    return [*keys, *((f.name, str(f.type), f.description) for f in view.outputs)]


def _table(project: str, table: Source | FeatureView, directory: Path) -> Dataset:
    if isinstance(table, FeatureView):
        return _history(project, table)
    return _file(table, directory) if table.sql is None else Dataset(_store(project), f"source/{table.name}")


def _file(source: Source, directory: Path) -> Dataset:
    """Return a source under the name that OpenLineage's convention gives to files, without credentials.

    A query of a database is none of its tables: it is called by the database and the source's name.
    """
    address = str(source.path if source.url is None else source.url)
    parts = urlsplit(address)
    if parts.scheme and parts.netloc:
        name = parts.path.lstrip("/") if source.url is None else f"{parts.path.strip('/')}/{source.name}".lstrip("/")
        return Dataset(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", name)
    path = Path(address)
    return Dataset("file", str(path.absolute() if path.exists() else directory / path))


def _columns(node: str, edges: Sequence[Edge], read: Mapping[str, Dataset]) -> list[Column]:
    found = []
    for edge in edges:
        table, _, name = nodes.name_of(edge.upstream).partition(".")
        kind, name = nodes.kind_of(edge.upstream), name.partition(":v")[0]
        if edge.downstream != node or kind not in ("column", "feature") or name == SOME:
            continue
        if table in read:
            found.append(Column(read[table], name, direct=edge.kind == "derives"))
        elif kind == "feature":  # the view's own, from which this one is computed as rows are written
            found += _columns(edge.upstream, edges, read)
    return found
