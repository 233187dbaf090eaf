"""Findings on a claim by year, for and against, drawn as an SVG file.

    python docs/example_figure.py rapid-onset figure.svg

The cells (# %%) can be run one by one in an editor that knows them, or in a notebook.
Nothing but this project is needed; with pandas and matplotlib it would be three lines.
"""

# %% The findings
import sys
from collections import Counter
from xml.sax.saxutils import escape

from kb import open_kb

claim, target = (sys.argv[1:] + ["rapid-onset", "figure.svg"][len(sys.argv) - 1 :])[:2]
with open_kb() as kb:
    statement = {row["id"]: row["statement"] for row in kb.claims()}[claim]
    rows = [row for row in kb.evidence(claim=claim) if row["stance"] != "background" and row["year"]]
    stamp = f"data version {kb.meta['data_version']}, tagger {kb.meta['tagger_version']}"

# %% Counted by year
counts = Counter((row["year"], row["stance"]) for row in rows)
years = range(min(row["year"] for row in rows), max(row["year"] for row in rows) + 1)
highest = max(sum(counts[y, s] for s in ("supports", "mixed", "contradicts")) for y in years)

# %% Drawn: one bar a year; patterns differ in lightness, so that the figure prints in grey
COLOURS = {"supports": "#0b6e6e", "mixed": "#9a9a9a", "contradicts": "#c8501e"}
LEFT, TOP, WIDTH, HEIGHT = 50, 60, 26, 200
parts = []
for number, year in enumerate(years):
    x, top = LEFT + number * WIDTH, TOP + HEIGHT
    for stance, colour in COLOURS.items():
        size = HEIGHT * counts[year, stance] / highest
        top -= size
        parts.append(
            f'<rect x="{x}" y="{top:.1f}" width="{WIDTH - 4}" height="{size:.1f}" fill="{colour}">'
            f"<title>{year}: {counts[year, stance]} {stance}</title></rect>"
        )
    if year % 5 == 0:
        parts.append(f'<text x="{x + 10}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{year}</text>')
for number, (stance, colour) in enumerate(COLOURS.items()):
    x = LEFT + number * 110
    parts.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{colour}"/>')
    parts.append(f'<text x="{x + 17}" y="46">{stance}</text>')
right = LEFT + len(years) * WIDTH + 20
svg = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(right, 620)}" height="{TOP + HEIGHT + 50}" '
    'font-family="sans-serif" font-size="12" role="img">'
    f'<text x="{LEFT}" y="20" font-size="14">{escape(statement[:90])}</text>'
    f'<text x="{LEFT - 8}" y="{TOP + 5}" text-anchor="end">{highest}</text>'
    f'<text x="{LEFT - 8}" y="{TOP + HEIGHT}" text-anchor="end">0</text>'
    + "".join(parts)
    + f'<text x="{LEFT}" y="{TOP + HEIGHT + 40}">{len(rows)} findings; {escape(stamp)}</text></svg>\n'
)
with open(target, "w", encoding="utf-8") as out:
    out.write(svg)
print(f"{target}: {len(rows)} findings on {claim}")
