"""Small charts as SVG, drawn on the server: no script, they print, and each has words beside it.

Positions across are in per cent and heights in pixels, so charts fit any width without
distorting text. Colours come from kb.css by class; mixed findings are hatched and findings
against are dotted, so that colour is never the only sign. Nothing here takes text from articles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup, escape

# Patterns that charts of a page refer to; placed once per page. Colours again by class.
PATTERNS = Markup(
    '<svg class="patterns" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="hatch-ground"/><rect width="3" height="6" class="hatch-line"/></pattern>'
    '<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect width="5" height="5" class="dots-ground"/><circle cx="2.5" cy="2.5" r="1" class="dots-dot"/></pattern>'
    "</defs></svg>"
)
_FILL = {"supports": 'class="c-for"', "mixed": 'fill="url(#hatch)"', "contradicts": 'fill="url(#dots)"'}
ORDER = ("supports", "mixed", "contradicts")


def side_words(counts: Mapping[str, int]) -> str:
    """ "12 for, 3 mixed, 2 against"; sides with nothing are named too, so that nothing is hidden."""
    return f"{counts['supports']:,} for, {counts['mixed']:,} mixed, {counts['contradicts']:,} against"


def bar(counts: Mapping[str, int], most: int | None = None, *, label: str = "", height: int = 14) -> Markup:
    """One bar: for, mixed, against. `most` is the count that fills the width (default: this bar's own sum).

    With `label` the chart speaks for itself; without, it is silent and words must stand beside it.
    """
    total = sum(counts[s] for s in ORDER)
    full = max(most or total, 1)
    parts, x = [], 0.0
    for stance in ORDER:
        if counts[stance]:
            width = 100 * counts[stance] / full
            parts.append(f'<rect x="{x:.2f}%" y="0" width="{width:.2f}%" height="{height}" {_FILL[stance]}/>')
            x += width
            parts.append(f'<rect x="{x:.2f}%" y="0" width="1.5" height="{height}" class="c-gap"/>')
    if not parts:
        parts = [f'<rect x="0" y="{height // 2 - 1}" width="100%" height="1" class="c-axis"/>']
    speak = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(
        f'<svg class="bar-chart" width="100%" height="{height}" {speak} focusable="false">{"".join(parts)}</svg>'
    )


def years(rows: Iterable[Mapping[str, Any]], claim: str) -> Markup | None:
    """Findings by year: for above the line, against below it, mixed across it. None for fewer than two years."""
    rows = [r for r in rows if any(r[s] for s in ORDER)]
    if len(rows) < 2:
        return None
    first, last = min(r["year"] for r in rows), max(r["year"] for r in rows)
    span = last - first + 1
    up = max(r["supports"] + r["mixed"] / 2 for r in rows)
    down = max(r["contradicts"] + r["mixed"] / 2 for r in rows)
    height, foot = 150, 22
    unit = height / max(up + down, 1)
    zero = up * unit + 4
    step = 100 / span
    bars = []
    for row in rows:
        x = (row["year"] - first + 0.12) * step
        width = step * 0.76
        half = row["mixed"] / 2 * unit
        title = f"{row['year']}: {side_words(row)}"
        pieces = []
        if row["supports"]:
            tall = row["supports"] * unit
            pieces.append(
                f'<rect x="{x:.2f}%" y="{zero - half - tall:.1f}" width="{width:.2f}%" '
                f'height="{tall:.1f}" {_FILL["supports"]}/>'
            )
        if row["mixed"]:
            pieces.append(
                f'<rect x="{x:.2f}%" y="{zero - half:.1f}" width="{width:.2f}%" '
                f'height="{2 * half:.1f}" {_FILL["mixed"]}/>'
            )
        if row["contradicts"]:
            pieces.append(
                f'<rect x="{x:.2f}%" y="{zero + half:.1f}" width="{width:.2f}%" '
                f'height="{row["contradicts"] * unit:.1f}" {_FILL["contradicts"]}/>'
            )
        bars.append(f"<g><title>{escape(title)}</title>{''.join(pieces)}</g>")
    bottom = zero + down * unit + 4
    every = 1 if span <= 8 else 5 if span <= 40 else 10
    ticks = []
    for year in range(first, last + 1):
        if year % every == 0 and (year - first + 0.5) * step > 3 and (year - first + 0.5) * step < 97:
            ticks.append(
                f'<text x="{(year - first + 0.5) * step:.2f}%" y="{bottom + 15:.0f}" '
                f'text-anchor="middle" class="c-tick">{year}</text>'
            )
    totals = {s: sum(r[s] for r in rows) for s in ORDER}
    label = (
        f"Findings on {claim} by year, {first} to {last}: {side_words(totals)} in all. The table below has each year."
    )
    return Markup(
        f'<svg class="year-chart" width="100%" height="{bottom + foot:.0f}" role="img" aria-label="{escape(label)}" '
        f'focusable="false">{"".join(bars)}<rect x="0" y="{zero:.1f}" width="100%" height="1" class="c-axis"/>'
        f"{''.join(ticks)}</svg>"
    )
