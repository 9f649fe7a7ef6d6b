"""Commands about documentation: `docs build`."""

from __future__ import annotations

from pathlib import Path

import click

from fs_core.cli.group import cli
from fs_core.cli.output import Report
from fs_core.cli.session import in_store
from fs_core.store import FeatureStore


@cli.group()
def docs() -> None:
    """A catalogue of everything that is registered."""


@docs.command()
@click.argument("folder", metavar="DIRECTORY", type=click.Path(file_okay=False, path_type=Path))
@click.option("--title", default="", help="What the store is called. [default: its directory's name]")
@in_store
def build(store: FeatureStore, folder: Path, title: str) -> Report:
    """Write a static site to DIRECTORY: every source, entity, view, service and model, with lineage and freshness.

    It opens from the file system, works without a server, and fetches nothing from elsewhere.
    """
    built = store.build_docs(folder, title=title)
    told = {"index": str(built.index), "pages": built.pages}
    return Report(heading=f"{built.pages:,} pages; open {built.index}", data=told)
