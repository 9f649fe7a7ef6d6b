"""Lineage as a picture: boxes in layers from left to right, drawn as SVG that the page's style colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _GAP, _BETWEEN = 210, 30, 10, 76  # of a box, between boxes, between layers
_LETTERS = 28  # that fit a box
_MOST = 30  # boxes of a layer; more can't be read


@dataclass(frozen=True)
class Box:
    """A thing drawn.

    Attributes:
        id: unique among the boxes.
        text: its name.
        kind: its kind, which decides its colour.
        url: where it leads, if anywhere.
        here: whether the page is about it.
    """

    id: str
    text: str
    kind: str
    url: str = ""
    here: bool = False


Link = tuple[str, str, str]
"""From which box to which, and the kind of edge."""


def draw(title: str, layers: Sequence[Sequence[Box]], links: Iterable[Link]) -> str:
    """Return an SVG picture; empty where there is nothing to connect. What a layer can't hold it counts.

    Args:
        title: what the picture is called.
        layers: boxes from left to right, each layer from top to bottom.
        links: which boxes are joined.
    """
    shown = [_shortened(layer, number) for number, layer in enumerate(layers)]
    shown = [layer for layer in shown if layer]
    if len(shown) < 2:
        return ""
    tallest = max(map(len, shown))
    height = tallest * (_HEIGHT + _GAP) + _GAP
    width = len(shown) * _WIDTH + (len(shown) - 1) * _BETWEEN + 2
    corners: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(shown):
        top = (height - len(layer) * (_HEIGHT + _GAP) + _GAP) // 2
        for row, box in enumerate(layer):
            corners[box.id] = (1 + column * (_WIDTH + _BETWEEN), top + row * (_HEIGHT + _GAP))
    lines = [_line(corners[a], corners[b], kind) for a, b, kind in sorted(set(links)) if a in corners and b in corners]
    boxes = [_box(box, *corners[box.id]) for layer in shown for box in layer]
    label = f"{title}: {len(boxes)} things, {len(lines)} connections. The tables say the same."
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (
        f'<div class="picture" tabindex="0" role="region" aria-label="{escape(title)}">'
        f'<svg {size} role="group" aria-label="{escape(label)}">{"".join([*lines, *boxes])}</svg></div>'
    )


def _shortened(layer: Sequence[Box], number: int) -> list[Box]:
    unique = list({box.id: box for box in layer}.values())
    if len(unique) <= _MOST:
        return unique
    return [*unique[: _MOST - 1], Box(f"more {number}", f"and {len(unique) - _MOST + 1:,} more", "more")]


def _line(start: tuple[int, int], end: tuple[int, int], kind: str) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    return f'<path class="{kind}" d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"/>'


def _box(box: Box, x: int, y: int) -> str:
    text = box.text if len(box.text) <= _LETTERS else f"{box.text[: _LETTERS - 1]}…"
    drawn = (
        f'<g class="box {box.kind}{" here" if box.here else ""}"><title>{escape(f"{box.kind} {box.text}")}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 20}">{escape(text)}</text></g>'
    )
    return f'<a href="{escape(box.url)}">{drawn}</a>' if box.url and not box.here else drawn
