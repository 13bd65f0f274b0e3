"""HTML tables of the page: what is in a cell is text, whatever it is."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from lesson.serving.page_tables import make_table

TEXTS = st.text(alphabet=st.sampled_from("<>&\"'`${}/=a名 \n!-"), max_size=12)


class Reader(HTMLParser):
    """What a browser makes of the HTML: its tags, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.cells, self.headings, self.within = [], [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")
            self.within = tag
            self.headings.append(dict(attributes).get("data-heading"))

    def handle_endtag(self, tag):
        if tag == self.within:
            self.within = None

    def handle_data(self, data):
        if self.within:
            self.cells[-1] += data


@given(TEXTS, st.lists(TEXTS, min_size=2, max_size=3), st.data())
def test_every_text_comes_back_and_no_tag_is_added(caption, headings, data):
    rows = data.draw(st.lists(st.lists(TEXTS, min_size=len(headings), max_size=len(headings)), max_size=3))
    made = make_table(caption, headings, rows)
    found = Reader(made)
    assert found.cells == [caption, *headings, *(text for row in rows for text in row)]
    assert set(found.tags) <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert found.headings[1 + len(headings) :] == [[None, *headings[1:]][i] for row in rows for i in range(len(row))]
    assert not set("{}$`") & set(made), "nothing for a template"


def test_without_headings_there_is_no_head_and_the_first_cell_names_its_row():
    made = make_table("figures", [], [["rows", "1500"]])
    assert "<thead>" not in made and "data-heading" not in made
    assert '<th scope="row">rows</th><td>1500</td>' in made
