"""Commands that define: `init`, `apply`, `list`, `show`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from fs_core.cli.arguments import FILE
from fs_core.cli.group import cli
from fs_core.cli.output import Report, write_document
from fs_core.cli.session import answers, in_store
from fs_core.errors import DefinitionError
from fs_core.store import FeatureStore
from fs_core.values.times import from_micros


@cli.command()
@click.argument("directory", default=".")
@click.option("--online", metavar="URL", help="Where latest rows live, such as redis://host:6379/0. [default: SQLite]")
@click.option("--registry", metavar="URL", help="Where definitions live: an SQLAlchemy URL. [default: SQLite]")
@answers
def init(directory: str, online: str | None, registry: str | None) -> Report:
    """Make a feature store in DIRECTORY (default: here).

    The directory remembers its URLs. A password doesn't belong there: set FS_ONLINE or FS_REGISTRY
    where the store is used.
    """
    with FeatureStore.create(directory, online=online, registry=registry) as store:
        place = str(store.directory)
        return Report(heading=f"feature store in {place}", data={"directory": place})


@cli.command()
@click.argument("file", type=FILE)
@in_store
def apply(store: FeatureStore, file: Path) -> Report:
    """Register what a Python or YAML FILE defines, all or nothing.

    Of a Python file, every entity, view, service or source that a global name holds counts; of YAML, every
    document. Applying again changes nothing; other content under a registered version is refused, with the
    version to give it. A warning says where a new version is current and has no history yet.
    """
    if file.suffix in (".yaml", ".yml"):
        changes = store.apply_yaml(_text(file), str(file))
    else:
        from fs_core.cli.definitions_file import definitions_in

        changes = store.apply(*definitions_in(file))
    rows = [dataclasses.asdict(change) for change in changes]
    return Report(rows, heading="" if changes.changed else "nothing new")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{file} isn't UTF-8: {error}. Save it as UTF-8.") from error


@cli.command(name="export")
@click.argument("refs", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Older versions too.")
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@in_store
def export_definitions(store: FeatureStore, refs: Sequence[str], everything: bool, file: Path | None) -> Report:
    """Show definitions as YAML that fs apply reads: of REFS with what they need, by default everything current."""
    text = store.to_yaml(*refs, every_version=everything)
    if file is None:
        return Report(text=text, data={"yaml": text})
    write_document(file, text)
    return Report(heading=f"definitions in {file}", data={"file": str(file)})


@cli.command(name="list")
@click.argument("kind", required=False, type=click.Choice(["source", "entity", "view", "service"]))
@click.option("--all", "everything", is_flag=True, help="Older versions too.")
@in_store
def list_definitions(store: FeatureStore, kind: str | None, everything: bool) -> Report:
    """List what is registered."""
    rows = [
        {
            "kind": r.kind,
            "name": r.name,
            "version": r.version,
            **({"current": r.current} if everything else {}),
            "digest": r.digest[:12],
            "registered": from_micros(r.created_at).replace(microsecond=0),
            "description": r.description,
        }
        for r in store.registry.summaries(kind)
        if everything or r.current
    ]
    return Report(rows, heading="" if rows else "nothing is registered; see fs apply --help")


@cli.command()
@click.argument("ref")
@in_store
def show(store: FeatureStore, ref: str) -> Report:
    """Show the definition that REF names, its versions, and how far its view is written and online."""
    from fs_core.cli.description import describe

    return describe(store, ref)
