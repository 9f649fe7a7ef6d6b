"""Commands about lineage: `lineage up`, `down`, `models`, `impact`, `refresh`, `export`, `import`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fs_core.cli.arguments import FILE
from fs_core.cli.group import cli, in_store
from fs_core.cli.output import Report
from fs_core.errors import DataError
from fs_core.runtime.files import write_document
from fs_core.store import FeatureStore

if TYPE_CHECKING:
    from fs_core.lineage import Graph, Node


@cli.group()
def lineage() -> None:
    """What is made from what: source columns, features, services, training sets, runs, models.

    \b
      fs lineage down users                      every feature derived from the users table
      fs lineage models customer_lifetime_value  which models use it
      fs lineage impact orders.order_amount      what changing it touches

    A reference is a source, its column, a view, feature, service (without a version: of any, up: the current one),
    a feature's bare name, a model or a training set. 'column:orders.amount' says the kind.
    """  # noqa: D301


def _shown(*first: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    choices = click.Choice([*first, "tree", "json", "mermaid", "dot", "manifest"])
    return click.option("--format", "form", type=choices, default=(*first, "tree")[0], show_default=True)


@lineage.command()
@click.argument("ref")
@_shown()
@in_store
def up(store: FeatureStore, ref: str, form: str) -> Report:
    """Show what REF is made from."""
    return _report(store.lineage.upstream(ref), form)


@lineage.command()
@click.argument("ref")
@_shown()
@in_store
def down(store: FeatureStore, ref: str, form: str) -> Report:
    """Show what is made from REF."""
    return _report(store.lineage.downstream(ref), form)


@lineage.command()
@click.argument("ref")
@_shown("table")
@in_store
def impact(store: FeatureStore, ref: str, form: str) -> Report:
    """List what changing REF touches, down to models with their stage and aliases."""
    graph = store.lineage.impact(ref)
    return _report(graph, form, [_row(node) for node in graph.found], f"nothing is made from {ref}")


@lineage.command()
@click.argument("ref")
@_shown("table")
@in_store
def models(store: FeatureStore, ref: str, form: str) -> Report:
    """List the models that REF goes into."""
    graph = store.lineage.downstream(ref)
    rows = [
        {
            "model": node.name,
            "how": node.how,
            "stage": node.body.get("stage"),
            "aliases": list(node.body.get("aliases", ())),
            "run": node.body.get("run_id"),
            "tracking": node.body.get("tracking_uri"),
        }
        for node in graph.models
    ]
    return _report(graph, form, rows, f"no model uses {ref}")


@lineage.command()
@in_store
def refresh(store: FeatureStore) -> Report:
    """Look at every view's source again, for files may have come or changed; say what isn't known."""
    notes = store.lineage.refresh()
    return Report(heading="" if notes else "every column is known", data={"notes": notes}, notes=notes)


@lineage.command(name="export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "cypher", "graphml"]),
    help="json: the manifest that 'import' reads; cypher: statements for graph databases; graphml: for other programs. "
    "By default what FILE ends in, else json.",
)
@in_store
def export_graph(store: FeatureStore, file: Path | None, form: str | None) -> Report:
    """Write the whole graph to FILE, or show it."""
    from fs_core.lineage.exports import EXPORTS

    ending = "" if file is None else file.suffix.lower().removeprefix(".")
    form = form or (ending if ending in EXPORTS else "json")
    document = store.lineage.manifest()
    text = EXPORTS[form](document)
    if file is None:
        return Report(text=text, data=document if form == "json" else {form: text})
    write_document(file, (text + "\n").encode())
    counts = {"nodes": len(document["nodes"]), "edges": len(document["edges"]), "file": str(file)}
    return Report(heading=f"{counts['nodes']:,} nodes and {counts['edges']:,} edges in {file}", data=counts)


@lineage.command(name="import")
@click.argument("file", type=FILE)
@in_store
def import_manifest(store: FeatureStore, file: Path) -> Report:
    """Take over the training sets, runs and models of the manifest FILE."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is no JSON: {error}.") from error
    count = store.lineage.load_manifest(document)
    return Report(heading=f"{count:,} training sets, runs and models", data={"nodes": count})


def _row(node: Node) -> dict[str, Any]:
    known = [f"stage {node.body['stage']}"] if node.body.get("stage") else []
    known += [f"@{alias}" for alias in node.body.get("aliases", ())]
    return {"kind": node.kind.replace("_", " "), "name": node.name, "how": node.how, "notes": ", ".join(known)}


def _report(graph: Graph, form: str, rows: Sequence[dict[str, Any]] = (), none: str = "") -> Report:
    from fs_core.lineage import manifest
    from fs_core.lineage.graph import FORMATS
    from fs_core.registry.records import Record

    if form == "table":
        return Report(rows, heading="" if rows else none, data=graph.to_dict(), notes=graph.notes)
    if form == "manifest":
        nodes = (*graph.roots, *graph.found)
        records = [Record(node.id, node.kind, node.body, 0) for node in nodes if node.body]
        document = manifest.written(graph.edges, records)
        return Report(text=json.dumps(document, indent=2, ensure_ascii=False), data=document)
    return Report(text=FORMATS[form](graph), data=graph.to_dict())
