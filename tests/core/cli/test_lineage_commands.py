"""Commands about versions, YAML and lineage, as a person and as a script use them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fs_core import FeatureStore
from fs_core.cli.group import cli
from fs_core.lineage.exports import EXPORTS
from tests.core.lineage.conftest import SHOP, write_files

Fs = Callable[..., Result]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a shop with a trained model and two versions of a view; nobody changes it."""
    directory = tmp_path_factory.mktemp("shop")
    with FeatureStore(directory) as store:
        write_files(directory)
        store.apply(*SHOP)
        store.backfill("value")
        spine = {"user_id": [1], "event_timestamp": [datetime(2024, 2, 1, tzinfo=UTC)]}
        made = store.get_historical_features(spine, "value")
        store.lineage.record_model("churn", version=3, stage="Production", aliases=["champion"], training_set=made)
        text = store.to_yaml("value").replace(
            "version: v1.0.0\ndescription: What", "version: v2.0.0\ndescription: What"
        )
        store.apply_yaml(text.replace("fields:", "ttl: 30d\nfields:"))
    return directory


@pytest.fixture
def fs(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fs:
    """A function that runs `fs` in a copy of that directory."""
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FS_STORE", raising=False)
    return lambda *words: CliRunner().invoke(cli, [str(word) for word in words])


def output_of(result: Result) -> str:
    """Return what a command printed; it must have succeeded."""
    assert result.exit_code == 0, result.output
    return result.stdout


def answer(result: Result) -> Any:
    """Return what a command with --json printed."""
    return json.loads(output_of(result))


def test_the_three_questions(fs: Fs) -> None:
    """What is derived from a table, which models use a feature, what changing a column touches: one command each."""
    assert "feature value.country:v1.0.0" in output_of(fs("lineage", "down", "users"))
    models = output_of(fs("lineage", "models", "customer_lifetime_value"))
    assert "churn/3" in models
    assert "Production" in models
    impact = output_of(fs("lineage", "impact", "orders.order_amount"))
    assert [line.split()[:2] for line in impact.splitlines()[1:]] == [
        ["feature", "value.customer_lifetime_value:v1.0.0"],
        ["feature", "value.customer_lifetime_value:v2.0.0"],
        ["service", "churn_features:v1.0.0"],
        ["training", "set"],
        ["model", "churn/3"],
    ]
    assert "stage Production, @champion" in impact
    assert "column users.country" in output_of(fs("lineage", "up", "churn"))


@pytest.mark.parametrize("question", ["up", "down", "models", "impact"])
@pytest.mark.parametrize(
    ("form", "beginning"),
    [("tree", "view value"), ("json", "{"), ("mermaid", "flowchart LR"), ("dot", "digraph"), ("manifest", "{")],
)
def test_forms(fs: Fs, question: str, form: str, beginning: str) -> None:
    """Every question is answered as a tree, JSON, Mermaid, Graphviz or a manifest, each whole; with --json as JSON."""
    text = output_of(fs("lineage", question, "value:v1.0.0", "--format", form))
    assert text.startswith(beginning)
    if beginning == "{":
        assert json.loads(text)["edges"]
    assert answer(fs("lineage", question, "value", "--format", form, "--json"))["edges"]


def test_nothing_and_nobody(fs: Fs) -> None:
    """What nothing is made from says so; what nobody knows is refused with what was meant."""
    assert output_of(fs("lineage", "impact", "orders.order_id")) == "nothing is made from orders.order_id\n"
    assert output_of(fs("lineage", "models", "profile")) == "no model uses profile\n"
    refused = fs("lineage", "down", "usrs")
    assert refused.exit_code == 1
    assert "Did you mean 'users'" in refused.stderr


def test_manifests(fs: Fs, tmp_path: Path) -> None:
    """The graph is written to a file, and its models are read from it; what is no manifest is refused."""
    assert "nodes and" in output_of(fs("lineage", "export", "graph.json"))
    assert json.loads(Path("graph.json").read_text()) == json.loads(output_of(fs("lineage", "export")))
    assert "nodes and" in output_of(fs("lineage", "export", "graph.cypher"))  # the ending says the format
    assert Path("graph.cypher").read_text() == output_of(fs("lineage", "export", "--format", "cypher"))
    assert answer(fs("lineage", "export", "--format", "cypher", "--json"))["cypher"] in Path("graph.cypher").read_text()
    assert output_of(fs("init", "other"))
    assert answer(fs("lineage", "import", "graph.json", "--store", "other", "--json")) == {"nodes": 2}
    Path("broken.json").write_text("{")
    refused = fs("lineage", "import", "broken.json")
    assert (refused.exit_code, "broken.json is no JSON" in refused.stderr) == (1, True)
    assert output_of(fs("lineage", "refresh")) == "every column is known\n"


def test_versions(fs: Fs) -> None:
    """diff, rollback, alias and retire say what they did, to people and programs."""
    assert "a major change: 2.0.0" in output_of(fs("diff", "value:v1.0.0", "value"))
    assert answer(fs("diff", "value:v1.0.0", "value", "--json"))["lines"] == ["ttl: absent -> '30d'"]
    assert output_of(fs("rollback", "value", "1.0.0")) == "view value: v2.0.0 -> v1.0.0\n"
    assert output_of(fs("alias", "value:v2.0.0", "candidate")) == "view value@candidate: nothing -> v2.0.0\n"
    assert [a["version"] for a in answer(fs("alias", "value", "--json"))] == ["2.0.0"]
    assert answer(fs("show", "value", "--json"))["aliases"] == {"candidate": "2.0.0"}
    assert "aliases       @candidate (2.0.0)" in output_of(fs("show", "value"))
    assert "candidate" in output_of(fs("alias"))
    assert "-> nothing" in output_of(fs("alias", "value", "candidate", "--remove"))
    assert output_of(fs("alias")) == "there are no aliases\n"
    assert fs("alias", "--remove").exit_code == 2
    assert fs("alias", "value", "cafe").exit_code == 1
    assert output_of(fs("rollback", "value", "v2.0.0"))
    assert output_of(fs("retire", "value:v1.0.0")).splitlines() == [
        "view value:v1.0.0 is retired",
        "warning: model churn/3 still uses it",
    ]
    shown = output_of(fs("show", "value"))
    assert "retired       1.0.0" in shown
    assert fs("retire", "value").exit_code == 0  # no other version is left that could be current
    assert output_of(fs("retire", "value:v1.0.0", "--undo")) == "view value:v1.0.0 is in use again\n"


@pytest.mark.parametrize(("form", "start"), [("json", "{"), ("cypher", "UNWIND ["), ("graphml", "<?xml")])
def test_the_graph_for_other_programs(fs: Fs, form: str, start: str) -> None:
    """The whole graph is shown or written in each form that there is; the file has what is shown."""
    assert list(EXPORTS) == ["json", "cypher", "graphml"]
    shown = output_of(fs("lineage", "export", "--format", form))
    assert shown.startswith(start)
    assert "in graph.out" in output_of(fs("lineage", "export", "graph.out", "--format", form))
    assert Path("graph.out").read_text() == shown


def test_yaml(fs: Fs) -> None:
    """Definitions exported as YAML are applied from the file; exported again they are the same text but for moments."""
    assert "definitions in all.yaml" in output_of(fs("export", "--all", "-o", "all.yaml"))
    text = output_of(fs("export", "--all"))
    assert Path("all.yaml").read_text() == text
    assert output_of(fs("init", "other"))
    assert len(answer(fs("apply", "all.yaml", "--store", "other", "--json"))) == 9
    again = output_of(fs("export", "--all", "--store", "other"))
    assert [x for x in again.splitlines() if "created" not in x] == [x for x in text.splitlines() if "created" not in x]
    assert output_of(fs("export", "value")).count("---\n") == 4
    Path("all.yaml").write_text(text.replace("ttl: 30d", "ttl: soon"))
    refused = fs("apply", "all.yaml")
    assert refused.exit_code == 1
    assert "all.yaml:" in refused.stderr


def test_a_long_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of hundreds is a table like any other: a heading, a line for each, columns under each other."""
    from fs_core import Source

    monkeypatch.chdir(tmp_path)
    with FeatureStore(tmp_path) as store:
        store.apply([Source(f"source_{n}", "x.csv", description=f"Two\nlines [bold]{n}") for n in range(300)])
    head, *lines = output_of(CliRunner().invoke(cli, ["list"])).splitlines()
    assert len(lines) == 300
    assert head.split() == ["kind", "name", "version", "digest", "registered", "description"]
    column = head.index("description")
    assert all(line[column:].startswith("Two lines [bold]") for line in lines)


def test_files_that_can_not_be_read_or_written(fs: Fs) -> None:
    """A missing folder and a file in another encoding are errors that name the file, not tracebacks."""
    for words in (["export", "-o"], ["lineage", "export"]):
        refused = fs(*words, "none/such.txt")
        assert refused.exit_code == 1
        assert "error: can't write 'none/such.txt': No such file or directory" in refused.stderr
    Path("latin.yaml").write_bytes("source: caf\xe9".encode("latin-1"))
    refused = fs("apply", "latin.yaml")
    assert refused.exit_code == 1
    assert "error: latin.yaml isn't UTF-8" in refused.stderr
