"""Tables of the page as HTML of our own: every text in them escaped, one `table` that a screen reader can walk through.

gradio's Dataframe is made for editing: its grid, drop zone and buttons are read out as controls that do nothing here, it
takes seconds to draw a hundred rows on a slow machine, and on a phone only its first column is seen.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

# On a phone each row is a card, and a cell begins with the heading of its column.
CSS = """
.rows {overflow: auto; max-height: 520px; border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg);}
.rows table {width: 100%; border-collapse: collapse; font-size: var(--text-sm); color: var(--body-text-color);}
.rows caption {text-align: start; padding: .5rem .75rem; font-weight: 600;}
.rows th, .rows td {text-align: start; vertical-align: top; padding: .45rem .75rem; overflow-wrap: anywhere;
  border-top: 1px solid var(--border-color-primary); white-space: pre-wrap;}
.rows thead th {position: sticky; top: 0; background: var(--background-fill-secondary);}
.rows tbody th {font-weight: 600;}
@media (max-width: 640px) {
  .rows thead {position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden;}
  .rows tr, .rows th, .rows td {display: block; border: 0; padding: .15rem .75rem;}
  .rows tbody tr {border-top: 1px solid var(--border-color-primary); padding: .4rem 0;}
  .rows td[data-heading]::before {content: attr(data-heading) ": "; color: var(--body-text-color-subdued);}
}
"""


def make_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML: `headings` may be empty; the first cell of a row is its heading; all are texts, shown as they are."""

    def escape(text: str) -> str:
        # Braces and dollar signs as well: gradio puts the table through a template.
        escaped = html.escape(text)
        return escaped.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")

    def cell(position: int, text: str) -> str:
        if position == 0:
            return f'<th scope="row">{escape(text)}</th>'
        heading = f' data-heading="{escape(headings[position])}"' if headings else ""
        return f"<td{heading}>{escape(text)}</td>"

    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(cell(i, text) for i, text in enumerate(row))}</tr>" for row in rows)
    name = escape(caption)
    return (
        f'<div class="rows" role="region" tabindex="0" aria-label="{name}"><table><caption>{name}</caption>'
        + (f"<thead><tr>{head}</tr></thead>" if head else "")
        + f"<tbody>{body}</tbody></table></div>"
    )
