"""The catalogue: complete, linked, safe to show, and usable in a real browser without a mouse or a network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field, Source
from fs_core.catalogue import Built
from fs_core.errors import ConfigurationError
from fs_core.materialization.watermark import ViewProgress
from tests.core.catalogue.browser import CHROMIUM, Browser, browser
from tests.core.lineage.conftest import SHOP, user, value, write_files

NASTY = "<script>alert(\"x\")</script> & 'quoted' </script><!-- é 😀"
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; apt-get install chromium")


class Page(HTMLParser):
    """Reads a page: its links, its anchors, and whether every element is closed where it should be."""

    VOID = ("meta", "link", "input", "br", "path", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what the element says."""
        attributes = dict(attrs)
        self.links += [str(attributes[name]) for name in ("href", "src") if attributes.get(name)]
        if attributes.get("id"):
            assert attributes["id"] not in self.anchors, f"two elements are called {attributes['id']!r}"
            self.anchors.add(str(attributes["id"]))
        if tag == "script":
            self.scripts.append(str(attributes.get("src")))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element that closes itself."""
        assert tag in self.VOID

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last."""
        assert self._open.pop() == tag


def read_site(directory: Path) -> dict[Path, Page]:
    """Read every page."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in directory.rglob("*.html")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The catalogue of a shop with a model, versions, aliases, a retired version and texts that are out for trouble."""
    directory = tmp_path_factory.mktemp("shop") / "store"
    with FeatureStore(directory) as store:
        write_files(directory)
        store.apply(*SHOP)
        for view in ("value", "habits", "profile"):
            store.backfill(view)
        store.materialize("value")
        spine = {"user_id": [1, 2], "event_timestamp": [datetime(2024, 2, 1, tzinfo=UTC)] * 2}
        made = store.get_historical_features(spine, "churn_features")
        store.lineage.record_model(
            "churn", version=3, stage="Production", aliases=["champion"], run_id="r1", training_set=made
        )
        store.lineage.record_model(NASTY, version=1, features=["value.country:v1.0.0"])
        store.apply(dataclasses.replace(value, version="1.1.0", ttl="365d", owner=NASTY, tags={"tier": NASTY}))
        nasty = FeatureView(
            "nasty", user, [Field("x", "string", NASTY)], description=NASTY, source=Source("n", NASTY + ".csv")
        )
        store.apply(nasty, FeatureService("all_of_them", ["nasty.*"], description=NASTY))
        store.alias("value:v1.1.0", "candidate")
        store.retire("value:v1.0.0")
        yield store.build_docs(directory.parent / "site", title=f"Shop {NASTY}")


def test_there_is_a_page_for_everything(site: Built) -> None:
    """Every source, entity, view and service in every version, every model and training set has a page."""
    pages = read_site(site.directory)
    assert len(pages) == site.pages == 1 + 3 + 1 + 6 + 2 + 2 + 1
    names = {path.relative_to(site.directory).as_posix() for path in pages}
    assert names >= {
        "index.html",
        "sources/orders-v1.0.0.html",
        "entities/user-v1.0.0.html",
        "views/value-v1.0.0.html",
        "views/value-v1.1.0.html",
        "services/churn_features-v1.0.0.html",
    }


def test_every_link_leads_somewhere_in_the_catalogue(site: Built) -> None:
    """No page fetches from or links to elsewhere; every link finds its page, and its anchor on it."""
    pages = read_site(site.directory)
    for path, page in pages.items():
        for link in page.links:
            if link == "data:,":
                continue
            address, anchor = urldefrag(link)
            assert "//" not in address, f"{path} leads out of the catalogue: {link}"
            target = path if not address else (path.parent / unquote(address)).resolve()
            assert target.is_file(), f"{path}: {link}"
            if anchor:
                assert unquote(anchor) in pages[target].anchors, f"{path}: {link}"
        assert page.scripts in (["search.js", "catalogue.js"], ["../search.js", "../catalogue.js"])
    assert "url(" not in (site.directory / "style.css").read_text()


def test_texts_stay_texts(site: Built) -> None:
    """Nothing that somebody wrote into a description, an owner, a tag, a path or a name becomes part of a page."""
    for path in site.directory.rglob("*.html"):
        assert "<script>alert" not in path.read_text(encoding="utf-8")
    text = (site.directory / "search.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("window.CATALOGUE = ").removesuffix(";\n"))
    assert [e[3] for e in entries if e[1] == "nasty.x"] == [NASTY]


def test_what_a_view_tells(site: Built) -> None:
    """A view's page shows owner, versions, types, statistics, freshness, rule, SQL, and where features come from."""
    old = (site.directory / "views/value-v1.0.0.html").read_text()
    for expected in ("retired", "12.0", "orders.order_amount", "churn/3", "WITH paid AS", "Online until", "never"):
        assert expected in old
    assert ">DE<" not in old  # the least of a text column may be somebody's name
    new = (site.directory / "views/value-v1.1.0.html").read_text()
    for expected in ("@candidate", "365d after its event time", "nothing written yet", "value-v1.0.0.html"):
        assert expected in new
    assert "<svg" in old
    assert 'class="influences"' in old


def test_a_catalogue_is_built_anew(site: Built, tmp_path: Path) -> None:
    """A second build replaces the first, leaves no page of what is gone, and differs in nothing but its moments."""
    with FeatureStore(site.directory.parent / "store") as store:
        store.build_docs(tmp_path / "site", title="Shop")
        stray = tmp_path / "site" / "views" / "gone-v1.0.0.html"
        stray.write_text("old")
        first = {p: p.read_text() for p in read_site_paths(tmp_path)}
        store.build_docs(tmp_path / "site", title="Shop")
        assert not stray.exists()
        for path in read_site_paths(tmp_path):
            assert [x for x in path.read_text().splitlines() if "<footer>" not in x] == [
                x for x in first[path].splitlines() if "<footer>" not in x
            ]


def read_site_paths(directory: Path) -> list[Path]:
    """Return the files of a site."""
    return sorted(p for p in directory.rglob("*") if p.suffix in (".html", ".js", ".css"))


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """A directory that holds anything but a catalogue is refused, and nothing in it is touched."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with FeatureStore(tmp_path / "store") as store:
        with pytest.raises(ConfigurationError, match="holds something that is no catalogue"):
            store.build_docs(tmp_path / "mine")
        with pytest.raises(ConfigurationError, match="can't write the catalogue"):
            store.build_docs(tmp_path / "mine" / "thesis.txt" / "site")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", [".fs-catalogue", "index.html", "search.js", "views"])
def test_a_link_in_its_folder_is_not_written_through(tmp_path: Path, name: str) -> None:
    """What somebody linked to stays as it is; the link gives way to the catalogue's own file or folder."""
    target, directory = tmp_path / "target", tmp_path / "site"
    with FeatureStore(tmp_path / "store") as store:
        store.build_docs(directory)
        if name == "views":
            target.mkdir()
            (target / "kept").write_text("kept")
            (directory / name).rmdir()
        else:
            target.write_text("kept")
            (directory / name).unlink()
        (directory / name).symlink_to(target)
        store.build_docs(directory)
    assert (target / "kept" if name == "views" else target).read_text() == "kept"
    assert not (directory / name).is_symlink()


def test_an_empty_store_has_a_catalogue(tmp_path: Path) -> None:
    """A store without definitions gets a first page that says so."""
    with FeatureStore(tmp_path / "store") as store:
        store.apply(Entity("user", keys={"id": "int64"}))
        built = store.build_docs(tmp_path / "site")
    assert built.pages == 2
    assert built.index.read_text().count("None yet.") == 4


def test_an_online_store_that_is_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A catalogue is built though the online store doesn't answer; it is asked once, and the log says so."""
    from tests.servers import free_port

    with FeatureStore(tmp_path / "store", online=f"redis://127.0.0.1:{free_port()}/0") as store:
        write_files(tmp_path / "store")
        store.apply(*SHOP)
        store.backfill("value")
        store.backfill("habits")
        store.build_docs(tmp_path / "site")
    assert [
        r.message.partition(",")[0] for r in caplog.records if r.name == "fs_core" and r.levelname == "WARNING"
    ] == ["catalogue: the online store doesn't answer"]
    assert "Last write" in (tmp_path / "site/views/value-v1.0.0.html").read_text()


def test_a_view_that_was_never_filled_to_the_end(tmp_path: Path) -> None:
    """A catalogue is built while the first run that fills a view is under way, or after it was cut off."""
    with FeatureStore(tmp_path / "store") as store:
        write_files(tmp_path / "store")
        store.apply(*SHOP)
        store.backfill("value")
        ViewProgress(store.view("value"), store.online)
        assert store.online.watermark(store.view("value").storage_name)
        store.build_docs(tmp_path / "site")
    assert "Last write" in (tmp_path / "site/views/value-v1.0.0.html").read_text()


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser."""
    with browser() as started:
        yield started


@in_browser
def test_search_by_keyboard_alone(site: Built, chromium: Browser) -> None:
    """A slash, letters, an arrow and Enter lead from any page to a feature; nothing is fetched from elsewhere."""
    chromium.open(site.directory / "sources/orders-v1.0.0.html")
    chromium.press("/", *"customer_life")
    chromium.wait("document.querySelectorAll('#results li').length === 1")
    assert chromium.ask("document.activeElement.id") == "query"
    assert chromium.ask("document.querySelector('#count').textContent") == "1 found"
    chromium.press("Escape")
    assert chromium.ask("document.querySelector('#results').hidden") is True
    chromium.ask("document.querySelector('#query').value = ''")
    chromium.press(*"country")
    chromium.wait("document.querySelectorAll('#results li').length >= 2")
    first = chromium.ask("document.querySelector('[aria-selected=true] .name').textContent")
    chromium.press("ArrowDown")
    second = chromium.ask("document.querySelector('[aria-selected=true] .name').textContent")
    assert {first, second} == {"profile.country", "value.country"}
    chromium.press("Enter")
    view = json.dumps(second.partition(".")[0])
    chromium.wait(f"document.title.includes({view}) && document.querySelector(':target') !== null")
    assert chromium.ask("document.querySelector(':target').textContent") == "country"
    assert {url.partition(":")[0] for url in chromium.requests} <= {"file", "data"}
    assert chromium.complaints == []


@in_browser
def test_every_control_is_reached_by_tab_and_shows_it(site: Built, chromium: Browser) -> None:
    """Tab first reaches the link to the content, then each control in order, and what has the focus is outlined."""
    chromium.open(site.directory / "views/value-v1.0.0.html")
    seen = []
    for _ in range(12):
        chromium.press("Tab")
        shown = chromium.ask(
            "(() => { const a = document.activeElement, s = getComputedStyle(a);"
            " return [a.textContent.trim() || a.id, s.outlineStyle, a.closest('svg') !== null]; })()"
        )
        seen.append(shown[0])
        assert shown[1] == "solid" or shown[2], shown
    assert seen[0] == "Skip to content"
    assert seen[2:7] == ["Views", "Services", "Models", "Entities", "Sources"]
    assert "query" in seen


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_light_and_dark(site: Built, chromium: Browser, scheme: str) -> None:
    """The page follows the system's colours, and every text stands out by the 4.5 to 1 that WCAG asks for."""
    chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    chromium.open(site.directory / "views/value-v1.0.0.html")
    worst = chromium.ask("""(() => {
      const light = (text) => {
        const parts = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
        const [r, g, b] = parts.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (node) => {
        for (let n = node; n; n = n.parentElement) {
          const colour = getComputedStyle(n).backgroundColor;
          if (!/^rgba\\(.*, 0\\)$/.test(colour)) return light(colour);
        }
        return 1;
      };
      const texts = [...document.querySelectorAll('main *, header a, footer')]
        .filter((n) => !n.closest('svg') && [...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim()));
      return Math.min(...texts.map((n) => {
        const [a, b] = [light(getComputedStyle(n).color), behind(n)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
      }));
    })()""")
    dark = chromium.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((v) => v < 60)")
    assert dark is (scheme == "dark")
    assert worst >= 4.5


@in_browser
def test_no_text_runs_as_script(site: Built, chromium: Browser) -> None:
    """Pages made of hostile texts show them and run none; the search shows them as text too."""
    for page in sorted(site.directory.rglob("*.html")):
        chromium.open(page)
    chromium.open(site.index, "?q=nasty")
    chromium.wait("document.querySelectorAll('#results li').length >= 2")
    assert "<script>" in chromium.ask("document.querySelector('#results').textContent")
    assert chromium.ask("document.querySelectorAll('#results script').length") == 0
    assert chromium.complaints == []
