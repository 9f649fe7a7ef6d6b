"""Every page of documentation runs as written, and leads only to what is there."""

from __future__ import annotations

import importlib
import importlib.util
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fs_core.online.contract import OnlineStore
from tests.core.retrieval.spark.sessions import import_connect
from tests.servers import free_port, running_server
from tests.snippets import FRONT, NEEDED, PAGES, ROOT, Ran, blocks, run

ELSEWHERE = {"fs_mlflow/README.md"}
"""Pages that other tests run, beside an MLflow of their own: `tests/mlflow_adapter/test_readme.py`."""
ROOMS_WITHOUT = {"code", "store", "runtime"}
"""Rooms of the core that users never enter by name: their docstrings say what they hold."""
LINK = re.compile(r"\]\(([^)\s:]+)\)")

Runner = Callable[[str], Ran]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A function that runs a page once, and gives what was left and printed; skips where its framework is absent."""
    done: dict[str, Ran] = {}

    def once(name: str) -> Ran:
        needed = NEEDED.get(name.rpartition("/")[0])
        if needed is not None and importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
        if needed == "pysail":
            import_connect()
        if name not in done:
            directory = tmp_path_factory.mktemp("newcomer")
            ports = {"8765": str(free_port())}
            if "redis://localhost:6379/0" in PAGES[name].read_text(encoding="utf-8"):
                with running_server("Valkey 9.1") as url:
                    done[name] = run(PAGES[name], directory, {"redis://localhost:6379/0": url, **ports})
            else:
                done[name] = run(PAGES[name], directory, ports)
        return done[name]

    return once


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.parametrize("name", sorted(set(PAGES) - ELSEWHERE))
def test_every_page_runs_as_written(name: str, ran: Runner) -> None:
    """Each snippet runs in order in an empty directory, and prints what the page says."""
    ran(name)


def test_the_front_door_is_short(ran: Runner) -> None:
    """150 lines at most, and a quickstart of 25 that shows an expired row offline and all three statuses online."""
    (quickstart,) = (block for block in blocks(FRONT) if block.language == "python")
    assert len(FRONT.read_text(encoding="utf-8").splitlines()) <= 150
    assert len(quickstart.text.splitlines()) <= 25
    left = ran("README.md")
    assert "{'spending': ['present', 'expired', 'missing']}" in left.printed[-1]
    assert left.names["training"].table["amount"].to_pylist() == [9.5, 20.0, None]


def test_every_room_has_a_page() -> None:
    """A package that users meet has its how-to beside its code."""
    rooms = {f"fs_core/{file.parent.name}/README.md" for file in ROOT.glob("fs_core/*/__init__.py")}
    rooms -= {f"fs_core/{room}/README.md" for room in ROOMS_WITHOUT}
    adapters = {f"{file.parent.name}/README.md" for file in ROOT.glob("fs_*/__init__.py")}
    assert rooms | adapters <= set(PAGES)


def test_serving_gives_one_answer_in_three_forms(ran: Runner) -> None:
    """The serving page's matrix, table and dicts are those of its two users."""
    names = ran("fs_core/serving/README.md").names
    assert names["matrix"].shape == (2, 1)
    assert names["rows"] == names["table"].to_pylist()


def test_the_kept_set_is_whole(ran: Runner) -> None:
    """The retrieval page loads a saved training set with all of its rows."""
    assert len(ran("fs_core/retrieval/README.md").names["kept"]) == 3


def test_the_server_page_answers(ran: Runner) -> None:
    """From an empty directory to an answered `curl`, in under a minute."""
    started = time.monotonic()
    (printed,) = ran("fs_core/server/README.md").printed
    assert '"ratio":2.25' in printed
    assert time.monotonic() - started < 60


def test_the_torch_page_serves_what_it_trains_on(ran: Runner) -> None:
    """An entity that nobody knows gets the encoding's fills."""
    names = ran("fs_torch/README.md").names
    assert names["online"]({"user_id": [3]}).tolist() == [[0, 0]]


def test_lineage_is_asked_as_written(ran: Runner) -> None:
    """The model is found by column and by feature, and in each of the shell's first three answers."""
    asked, *typed = ran("fs_core/lineage/README.md").printed
    assert "model churn/3 (Production)" in asked
    assert "".join(typed).count("churn/3") == 3


def test_the_command_line_shows_what_it_says(ran: Runner) -> None:
    """The tour ends with a row that is served, one that is missing, and how far the view is online."""
    (printed,) = ran("fs_core/cli/README.md").printed
    assert "missing" in printed
    assert "materialized until" in printed


def test_the_catalogue_is_built(ran: Runner) -> None:
    """The catalogue page leaves a site behind."""
    assert (ran("fs_core/catalogue/README.md").directory / "catalogue" / "index.html").is_file()


def test_a_forgotten_user_is_gone(ran: Runner) -> None:
    """The materialization page finds nothing to mend, answers a past moment online, and erases two rows."""
    left = ran("fs_core/materialization/README.md")
    assert left.printed[1:4] == ["{} 0\n", "{'spending': ['present']}\n", "2 1\n"]
    assert left.names["past"].status == {"spending": ["present"]}


def test_the_suite_certifies_as_shown(ran: Runner) -> None:
    """The page on back-ends names the suite and its one fixture as they are, and its store answers by its order."""
    names = ran("fs_core/testing/README.md").names
    assert "store" in vars(names["TestShelf"])
    assert isinstance(names["Shelf"](), OnlineStore)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_link_leads_somewhere(name: str) -> None:
    """Links, their headings, dotted names and examples exist."""
    text = PAGES[name].read_text(encoding="utf-8")
    for link in LINK.findall(re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)):
        path, _, heading = link.partition("#")
        target = PAGES[name].parent / path if path else PAGES[name]
        assert target.exists(), link
        assert not heading or heading in headings(target), link
    for module, thing in set(re.findall(r"`(fs_\w+(?:\.[a-z_]+)*)(?:\.([A-Z]\w+))?`", text)):
        if importlib.util.find_spec(NEEDED.get(module.partition(".")[0], "fs_core")) is not None:
            found = importlib.import_module(module)
            assert not thing or hasattr(found, thing), f"{module}.{thing}"
    for module in re.findall(r"`python -m (examples\.\w+)`", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
