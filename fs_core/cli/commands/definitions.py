"""Commands about what is registered: defined, shown, compared, retired, documented."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fs_core.cli.arguments import FILE
from fs_core.cli.group import answers, cli, in_store, in_store_or_new, is_named_before, named_directory, store_option
from fs_core.cli.output import Report
from fs_core.configuration import is_store
from fs_core.errors import DefinitionError
from fs_core.runtime.files import write_document
from fs_core.store import FeatureStore
from fs_core.values.times import from_micros

if TYPE_CHECKING:
    from fs_core.definitions import Definition
    from fs_core.registry import ApplyResult


@cli.command()
@click.argument("where", metavar="[DIRECTORY]", required=False)
@store_option()
@click.option("--online", metavar="URL", help="Where latest rows live, such as redis://host:6379/0. [default: SQLite]")
@click.option(
    "--offline", metavar="URL", help="Where history lies, such as s3://bucket/prefix. [default: in DIRECTORY]"
)
@click.option("--registry", metavar="URL", help="Where definitions live: an SQLAlchemy URL. [default: SQLite]")
@answers
def init(
    where: str | None, directory: str | None, online: str | None, offline: str | None, registry: str | None
) -> Report:
    """Make a feature store in DIRECTORY, or the one that --store or FS_STORE names (default: here).

    The directory remembers its URLs. A password doesn't belong there: set FS_ONLINE or FS_REGISTRY
    where the store is used, and the keys of a bucket as its own tools read them, such as AWS_ACCESS_KEY_ID.
    """
    if where is not None and (directory is not None or is_named_before()):
        raise click.UsageError("The store's directory is named twice: pass DIRECTORY or --store.")
    with FeatureStore.create(
        named_directory(where or directory), online=online, offline=offline, registry=registry
    ) as store:
        path = str(store.directory)
        return Report(heading=f"feature store in {path}", data={"directory": path})


@cli.command()
@click.argument("file", type=FILE)
@in_store_or_new
def apply(store: FeatureStore, file: Path) -> Report:
    """Register what a Python or YAML FILE defines, all or nothing; a directory without a store becomes one.

    Of a Python file, every entity, view, service or source that a global name holds counts; of YAML, every
    document. Applying again changes nothing; other content under a registered version is refused, with the
    version to give it. A warning says where a new version is current and has no history yet.
    """
    new = not is_store(Path(store.directory))
    report = _changes(store.apply(*_definitions(store, file)))
    return dataclasses.replace(report, heading=f"a new feature store in {store.directory}") if new else report


@cli.command()
@click.argument("file", type=FILE)
@in_store_or_new
def plan(store: FeatureStore, file: Path) -> Report:
    """Show what fs apply FILE would do, and do nothing; exit with 1 where it would refuse."""
    return _changes(store.plan(*_definitions(store, file)))


def _definitions(store: FeatureStore, file: Path) -> list[Definition]:
    if file.suffix in (".yaml", ".yml"):
        return store.read_yaml(_text(file), str(file))
    from fs_core.cli.commands.definitions_file import definitions_in

    return definitions_in(file)


def _changes(changes: ApplyResult) -> Report:
    data = [dataclasses.asdict(change) for change in changes]
    rows = [{name: value for name, value in row.items() if name != "differs"} for row in data]
    notes = [f"{c.kind} {c.name}:v{c.version}: {line}" for c in changes for line in c.differs]
    return Report(rows, heading="" if changes.changed else "nothing new", data=data, notes=notes)


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
    write_document(file, text.encode())
    return Report(heading=f"definitions in {file}", data={"file": str(file)})


@cli.command(name="list")
@click.argument("kind", required=False, type=click.Choice(["source", "entity", "view", "on_demand", "service"]))
@click.option("--all", "everything", is_flag=True, help="Older versions too.")
@click.option("--jobs", is_flag=True, help="Views with a schedule instead: how the last run ended, when the next is.")
@in_store
def list_definitions(store: FeatureStore, kind: str | None, everything: bool, jobs: bool) -> Report:
    """List what is registered, and what of it is retired."""
    if jobs:
        if kind not in (None, "view") or everything:
            raise click.UsageError("--jobs lists views in their current versions; leave KIND and --all out.")
        from fs_core.cli.commands.jobs import listed_jobs

        return listed_jobs(store)
    gone = store.registry.retired()
    listed = [r for r in store.registry.summaries(kind) if everything or r.current]
    data: list[dict[str, Any]] = [
        {
            "kind": r.kind,
            "name": r.name,
            "version": r.version,
            **({"current": r.current} if everything else {}),
            "digest": r.digest[:12],
            "registered": from_micros(r.created_at).replace(microsecond=0),
            "description": r.description,
            "retired": (r.kind, r.name, r.version) in gone,
        }
        for r in listed
    ]
    rows = [dict(row, version=f"{row['version']} (retired)" if row["retired"] else row["version"]) for row in data]
    for row in rows:
        del row["retired"]
    return Report(rows, heading="" if rows else "nothing is registered; see fs apply --help", data=data)


@cli.command()
@click.argument("ref")
@in_store
def show(store: FeatureStore, ref: str) -> Report:
    """Show the definition that REF names, its versions, and how far its view is written and online."""
    from fs_core.cli.commands.description import describe

    return describe(store, ref)


@cli.command()
@click.argument("before")
@click.argument("after")
@in_store
def diff(store: FeatureStore, before: str, after: str) -> Report:
    """Show what differs from BEFORE to AFTER, two versions of one thing, and the version bump it calls for."""
    found = store.diff(before, after)
    return Report(heading=str(found), data=dataclasses.asdict(found))


@cli.command()
@click.argument("name")
@click.argument("version")
@in_store
def rollback(store: FeatureStore, name: str, version: str) -> Report:
    """Make an earlier VERSION of the view or service NAME current again; nothing is deleted.

    \b
      fs rollback spending 1.0.0
      fs rollback spending @3f2a9c1
    """  # noqa: D301
    moved = store.rollback(name, to=version)
    return Report(heading=str(moved), data=dataclasses.asdict(moved))


@cli.command()
@click.argument("ref", required=False)
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Let the alias mean nothing any more.")
@in_store
def alias(store: FeatureStore, ref: str | None, name: str | None, remove: bool) -> Report:
    """Let the alias NAME mean the version REF until it is moved, or list the aliases (of REF).

    \b
      fs alias spending:v1.2.0 production      and then: fs get spending@production ...
      fs alias spending                        what its aliases mean
    """  # noqa: D301
    if ref and name:
        moved = store.alias(ref, name, remove=remove)
        return Report(heading=str(moved), data=dataclasses.asdict(moved))
    if remove:
        raise click.UsageError("Which alias? Write fs alias NAME ALIAS --remove.")
    rows = [{**dataclasses.asdict(a), "since": from_micros(a.since)} for a in store.aliases(ref)]
    return Report(rows, heading="" if rows else "there are no aliases")


@cli.command()
@click.argument("ref")
@click.option("--undo", is_flag=True, help="Take a retirement back.")
@in_store
def retire(store: FeatureStore, ref: str, undo: bool) -> Report:
    """Retire the version REF: not served or materialized any more, readable for old training sets for ever.

    What still uses it is listed; it is retired all the same.
    """
    done = store.retire(ref, undo=undo)
    notes = [f"warning: {user} still uses it" for user in done.used_by]
    heading = f"{done.kind} {done.name}:v{done.version} is {'retired' if done.retired else 'in use again'}"
    return Report(heading=heading, data=dataclasses.asdict(done), notes=notes)


@cli.command()
@click.argument("ref")
@in_store
def delete(store: FeatureStore, ref: str) -> Report:
    """Take back the version REF, registered by mistake, that nothing uses; say what does use it otherwise.

    It has no rows, and no service, training set, model or alias rests on it. An entity or source is deleted if no
    view needs it.
    """
    gone = store.delete(ref)
    data = {"kind": gone.kind, "name": gone.name, "version": gone.version}
    return Report(heading=f"{gone.kind} {gone.ref} is deleted", data=data)


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
    data = {"index": str(built.index), "pages": built.pages}
    return Report(heading=f"{built.pages:,} pages; open {built.index}", data=data)
