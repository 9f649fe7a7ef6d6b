"""What monitoring last saw of a view's features: distributions over each other, drawn as SVG, and distances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from fs_core.catalogue.html import Markup, e, moment, table

_WIDTH, _HEIGHT, _TEXT = 420, 90, 16
_LONG = 40  # letters of a bin's label in its title


def last_report(report: Mapping[str, Any] | None) -> str:
    """Return a view's last report: when, what was found, and each feature with its picture.

    Args:
        report: what `fs_core.monitoring.kept` keeps, in plain values; None where there is none.
    """
    if report is None:
        return ""
    found = [f"{question} {feature}" for question, feature in report["findings"]]
    about = f"<p>{moment(report['start'])} to {moment(report['end'])}: {e(', '.join(found) or 'nothing found')}.</p>"
    return about + "".join(_features(report))


def _features(report: Mapping[str, Any]) -> Iterator[str]:
    distances = report["distances"]
    for feature in dict.fromkeys(one["feature"] for one in distances):
        yield f"<h3>{e(feature)}</h3>"
        yield from (_picture(shares) for shares in report["shares"] if shares["feature"] == feature)
        rows = [
            (
                one["measure"],
                one["against"],
                f"{one['value']:.3g}",
                f"{one['threshold']:g}",
                "yes" if one["alarm"] else "",
            )
            for one in distances
            if one["feature"] == feature
        ]
        yield table(("Measure", "Against", "Value", "Matters from", "Alarm"), rows, f"Distances of {feature}")


def _picture(shares: Mapping[str, Any]) -> Markup:
    """Return two distributions over the same bins: what it is compared with filled, the window as an outline."""
    labels, before, now = shares["labels"], shares["reference"], shares["current"]
    highest = max([*before, *now, 1e-9])
    step = _WIDTH / max(1, len(labels))
    bars = "".join(
        _bar(number * step, step, highest, label, one, other)
        for number, (label, one, other) in enumerate(zip(labels, before, now, strict=True))
    )
    name = f"Shares of entities by {shares['feature']}: filled the {shares['against']}, outlined the window"
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT + _TEXT}" width="{_WIDTH}" height="{_HEIGHT + _TEXT}"'
    text = f'<text x="0" y="{_HEIGHT + _TEXT - 3}">{escape(_ends(labels))}</text>'
    opened = f'<svg class="shares" {size} role="img" aria-label="{escape(name)}"><title>{escape(name)}</title>'
    return Markup(f"{opened}{bars}{text}</svg>")


def _bar(x: float, step: float, highest: float, label: str, before: float, now: float) -> str:
    """Return both shares of one bin.

    Args:
        x: where it begins.
        step: how wide it is.
        highest: the largest share drawn.
        label: what the bin holds.
        before: the reference's share.
        now: the window's share.
    """
    shown = label if len(label) <= _LONG else label[:_LONG] + "…"
    parts = [
        f'<rect class="{kind}" x="{x + 1:.1f}" y="{_HEIGHT * (1 - share / highest):.1f}" width="{step - 2:.1f}" '
        f'height="{_HEIGHT * share / highest:.1f}"/>'
        for kind, share in (("before", before), ("now", now))
    ]
    return f"<g><title>{escape(shown)}: {before:.1%}, now {now:.1%}</title>{''.join(parts)}</g>"


def _ends(labels: Sequence[str]) -> str:
    ends = [label if len(label) <= _LONG // 2 else label[: _LONG // 2] + "…" for label in [*labels[:1], *labels[-1:]]]
    return " … ".join(dict.fromkeys(ends))
