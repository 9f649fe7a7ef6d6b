"""The page around a page, and the few forms that all of them are made of. Everything that is text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from fs_core.values.times import from_micros


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def e(value: object) -> Markup:
    """Return a value as HTML; markup stays as it is, nothing is a dash."""
    if isinstance(value, Markup):
        return value
    return Markup("–" if value is None or value == "" else escape(str(value)))


def link(url: str, text: object) -> Markup:
    """Return a link."""
    return Markup(f'<a href="{escape(url)}">{e(text)}</a>')


def mark(text: str, kind: str = "") -> Markup:
    """Return a small label."""
    return Markup(f'<span class="mark {kind}">{e(text)}</span>')


def moment(micros: int | None) -> Markup:
    """Return a moment, which the page's script says in words too."""
    return e(None) if micros is None else _time(from_micros(micros))


def iso_moment(text: str | None) -> Markup:
    """Return a moment given in ISO 8601."""
    return e(None) if text is None else _time(datetime.fromisoformat(text))


def _time(value: datetime) -> Markup:
    exact = value.isoformat().replace("+00:00", "Z")
    shown = value.replace(microsecond=0).isoformat(sep=" ").replace("+00:00", " UTC")
    return Markup(f'<time datetime="{exact}">{shown}</time>')


def table(names: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> Markup:
    """Return a table that can be scrolled from the keyboard; empty without rows.

    Args:
        names: of the columns.
        rows: a cell for each column; text is escaped.
        caption: what the table is called.
    """
    body = "".join(f"<tr>{''.join(f'<td>{e(cell)}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return Markup("")
    head = "".join(f'<th scope="col">{e(name)}</th>' for name in names)
    return Markup(
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{e(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Return a list of names and values; what is empty is left out."""
    shown = "".join(f"<dt>{e(name)}</dt><dd>{e(value)}</dd>" for name, value in pairs if value not in (None, ""))
    return Markup(f"<dl>{shown}</dl>" if shown else "")


def section(title: str, *parts: str) -> Markup:
    """Return a section; empty if its parts are."""
    body = "".join(parts)
    return Markup(f"<section><h2>{e(title)}</h2>{body}</section>" if body else "")


def code(text: str) -> Markup:
    """Return a query as it was typed."""
    return Markup(f'<pre tabindex="0"><code>{escape(text)}</code></pre>')


def page(title: str, body: str, *, root: str, store: str, built_at: int, current: str = "") -> str:
    """Return a whole page.

    Args:
        title: of the page.
        body: HTML.
        root: how to get from the page to the catalogue's first page: `` or `../`.
        store: the store's name.
        built_at: when the catalogue was built, in microseconds.
        current: the kind of things that the page is about, for the navigation.
    """
    kinds = {"views": "Views", "services": "Services", "models": "Models", "entities": "Entities", "sources": "Sources"}
    items = "".join(
        f'<li><a href="{root}index.html#{kind}"{" aria-current=true" if kind == current else ""}>{name}</a></li>'
        for kind, name in kinds.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{e(title)} · {e(store)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}style.css">
</head>
<body data-root="{root}">
<a class="skip" href="#main">Skip to content</a>
<header>
<a class="home" href="{root}index.html">{e(store)}</a>
<nav aria-label="Kinds"><ul>{items}</ul></nav>
<form role="search" id="search">
<label class="hidden" for="query">Search the catalogue</label>
<input id="query" type="search" placeholder="Search ( / )" autocomplete="off" role="combobox" aria-expanded="false"
 aria-controls="results" aria-autocomplete="list">
<ul id="results" role="listbox" aria-label="Found" hidden></ul>
<p id="count" class="hidden" role="status"></p>
</form>
</header>
<main id="main" tabindex="-1">
{body}
</main>
<footer>Built {moment(built_at)} by fs docs build.</footer>
<script src="{root}search.js" defer></script>
<script src="{root}catalogue.js" defer></script>
</body>
</html>
"""
