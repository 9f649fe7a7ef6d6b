"""Writing a catalogue to a directory."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from fs_core.catalogue import paths
from fs_core.catalogue.contents import Contents, Origin, gather
from fs_core.catalogue.html import page
from fs_core.catalogue.overview import first_page, record_page
from fs_core.catalogue.pages import definition_page
from fs_core.definitions import FeatureView, OnDemandView
from fs_core.errors import MISSHAPEN, ConfigurationError, FeatureStoreError, RegistryError
from fs_core.lineage import nodes
from fs_core.runtime.progress_bar import progress

log = logging.getLogger("fs_core")

_MARK = ".fs-catalogue"
_ASSETS = ("style.css", "catalogue.js")


@dataclass(frozen=True)
class Built:
    """What was written.

    Attributes:
        directory: where.
        pages: how many pages.
    """

    directory: Path
    pages: int

    @property
    def index(self) -> Path:
        """The first page."""
        return self.directory / "index.html"


def build(origin: Origin, directory: Path, *, title: str, built_at: int) -> Built:
    """Write the catalogue of a store; what an earlier build left in the directory goes.

    Args:
        origin: where definitions, lineage and freshness are looked up.
        directory: made if absent; otherwise empty, or an earlier catalogue.
        title: what the store is called.
        built_at: the moment of the build, microseconds since 1970-01-01 UTC.

    Raises:
        ConfigurationError: the directory holds something else, or can't be written.
        RegistryError: the registry can't be read.
    """
    contents = gather(origin, title, built_at)
    try:
        _clear(directory)
        count = _write(contents, directory)
    except OSError as error:
        raise ConfigurationError(f"can't write the catalogue to {directory}: {error.strerror}.") from error
    except FeatureStoreError:
        raise
    except MISSHAPEN as error:
        raise RegistryError(f"the registry holds what no page can be made of: {error!r}. Restore it.") from error
    log.info("catalogue of %d pages in %s", count, directory)
    return Built(directory, count)


def _clear(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()) and not (directory / _MARK).exists():
        raise ConfigurationError(f"{directory} holds something that is no catalogue. Choose an empty directory.")
    _put(directory / _MARK, "")
    for name in paths.FOLDERS.values():
        folder = directory / name
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _put(file: Path, text: str) -> None:
    """Write a file anew; a link that lies there is removed, and what it leads to left alone."""
    file.unlink(missing_ok=True)
    with file.open("x", encoding="utf-8", errors="replace") as opened:
        opened.write(text)


def _write(contents: Contents, directory: Path) -> int:
    for name in _ASSETS:
        _put(directory / name, (files("fs_core.catalogue") / name).read_text(encoding="utf-8"))
    found = json.dumps([list(entry) for entry in _entries(contents)], ensure_ascii=False)
    _put(directory / "search.js", f"window.CATALOGUE = {found};\n")
    for folder in sorted(set(paths.FOLDERS.values())):
        (directory / folder).mkdir()
    total = 1 + len(contents.registered) + len(contents.recorded("model")) + len(contents.recorded("training_set"))
    with progress("catalogue", total) as advance:
        for path, title, body in _pages(contents):
            folder, slash, _ = path.rpartition("/")
            root = "../" if slash else ""
            layout = {"root": root, "store": contents.title, "built_at": contents.built_at, "current": folder}
            _put(directory / path, page(title, body, **layout))  # type: ignore[arg-type]
            advance(1)
    return total


def _pages(contents: Contents) -> Iterator[tuple[str, str, str]]:
    """Yield path, title and body of every page."""
    yield "index.html", "Catalogue", first_page(contents)
    for r in contents.registered:
        d = r.definition
        title = f"{d.kind.replace('_', '-')} {d.name}"
        yield paths.of_definition(d.kind, d.name, d.version), title, definition_page(contents, r)
    for kind in ("model", "training_set"):
        for record in contents.recorded(kind):
            title = f"{kind.replace('_', ' ')} {nodes.name_of(record.id)}"
            yield paths.of_record(record.id), title, record_page(contents, record)


def _entries(contents: Contents) -> Iterator[tuple[Any, ...]]:
    """Yield what the search knows: kind, name, path, what its page says, and words that find it."""
    for r in (r for r in contents.registered if r.current):
        d = r.definition
        path = paths.of_definition(d.kind, d.name, d.version)
        words = " ".join([d.owner, *(f"{name}={value}" for name, value in d.tags.items())]).strip()
        yield d.kind, d.name, path, d.description, words
        if isinstance(d, FeatureView | OnDemandView):
            for f in d.outputs:
                yield "feature", f"{d.name}.{f.name}", f"{path}#feature-{f.name}", f.description, words
    for record in contents.recorded("model"):
        words = " ".join([record.body.get("stage") or "", *record.body.get("aliases", ())]).strip()
        yield "model", nodes.name_of(record.id), paths.of_record(record.id), words, ""
