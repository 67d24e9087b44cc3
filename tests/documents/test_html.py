"""HTML: the visible text in reading order, with its headings, and nothing left out in silence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents.html import lay_out, parse, render
from pipeline.documents.load import load
from pipeline.errors import DocumentError
from pipeline.types import Document, Heading, Place
from tests.documents.texts import without_space

ROOT = Path(__file__).parents[2]
PAGE = """<!doctype html><html><head><title>Tarn – the island</title><style>p {}</style></head><body>
<nav><a href=/>Home</a> <a href=/about>About us</a></nav>
<main><h1>Tarn   <em>Island</em></h1><p>The boat leaves at <b>7:40</b>
and 12:15.<br>It carries 10<sup>2</sup> people over the sound, and every one of them has a seat on the upper deck.</p>
<h2>Fares</h2><table><tr><th>Who<th>Marks</tr><tr><td><p>Dog</p></td><td>6</td></tr></table></main>
<footer>Printed in Skelby</footer><script>var secret = 1</script></body></html>"""


def loaded(folder: Path, page: str | bytes, name: str = "the_page.html") -> Document:
    path = folder / name
    path.write_bytes(page if isinstance(page, bytes) else page.encode())
    return load(path)


def shown(body: str) -> str:
    return lay_out(render(parse(Path("a.html"), f"<html><body>{body}</body></html>"))[0]).text


def test_headings_tables_and_places(tmp_path: Path) -> None:
    pytest.importorskip("trafilatura", reason="trafilatura cannot be imported", exc_type=ImportError)
    document = loaded(tmp_path, PAGE)
    text = (
        "# Tarn Island\n\nThe boat leaves at 7:40 and 12:15.\nIt carries 10^2 people over the sound, and every one of "
        "them has a seat on the upper deck.\n\n## Fares\n\nWho: Dog; Marks: 6"
    )
    assert (document.text, document.kind, document.title) == (text, "html", "Tarn Island")
    assert document.headings == (Heading(0, 1, "Tarn Island"), Heading(text.index("## Fares"), 2, "Fares"))
    assert document.notes == ("6 words of navigation left out: Home About us Printed in Skelby",)
    assert document.place(text.index("Dog")) == Place(5, None, ("Tarn Island", "Fares"))


def test_navigation_is_kept_and_told_where_trafilatura_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    document = loaded(tmp_path, PAGE)
    assert document.text.startswith("Home About us\n\n# Tarn Island")
    assert document.notes[0].startswith("navigation was kept, for trafilatura cannot be imported: pip install")


def test_a_page_that_is_mostly_navigation_is_kept_whole(tmp_path: Path) -> None:
    links = " ".join(f"<a href=/{n}>harbour {n}</a>" for n in range(50))
    document = loaded(tmp_path, f"<html><body><nav>{links}</nav><p>Harbours.</p></body></html>")
    assert "harbour 49" in document.text


def test_the_demo_page() -> None:
    document = load(ROOT / "configs/demo/documents/garden.html")
    assert document.title == "The Orla garden"
    assert document.notes == ()
    assert document.place(document.text.index("fig trees")).heading == ("The Orla garden", "What grows there")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("loose <span>inline</span><div>div<p>inner</p>tail</div>", "loose inline\n\ndiv\n\ninner\n\ntail"),
        ("<ul><li>one<li>two<ol start=3><li>a<li>b</ol></ul>", "- one\n- two\n  3. a\n  4. b"),
        ("<ul><li><p>one</p><p>more</p></ul>", "- one\n  more"),
        ("<pre>if x &lt; 1:\n    y</pre>", "```\nif x < 1:\n    y\n```"),
        ("<table><tr><td>a<td>1<br>2</table>", "| a | 1 2 |"),
        ("<table><tr><td><h2>Layout</h2><p>text</p><td>other</table>", "## Layout\n\ntext\n\nother"),
        ("<p hidden>a</p><p style='display: none'>b</p><template>c</template>d<!-- e -->f", "df"),
        ("<p>x<sup>2</sup> y<sup>[1]</sup></p>", "x^2 y[1]"),
        ('<p>See <img src=a alt="a cat"> here.</p>', "See [image: a cat] here."),
        (
            "<dl><dt>Term<dd>Meaning</dl><details><summary>Short</summary>Long</details>",
            "Term\n\nMeaning\n\nShort\n\nLong",
        ),
        ("&amp;lt; &eacute;&nbsp;&#128512;", "&lt; é 😀"),
    ],
)
def test_how_elements_are_laid_out(body: str, text: str) -> None:
    assert shown(body) == text


def test_images_that_say_nothing_are_counted(tmp_path: Path) -> None:
    assert loaded(tmp_path, "<p>Text.</p><img src=a><img src=b alt=''>").notes == ("2 images without text",)
    assert loaded(tmp_path, "<p>Text.</p><img src=a>").notes == ("1 image without text",)


def test_the_encoding_is_that_of_the_page(tmp_path: Path) -> None:
    page = '<html><head><meta charset="iso-8859-9"></head><body><p>İstanbul, ağaç, ışık</p></body></html>'
    assert loaded(tmp_path, page.encode("iso-8859-9")).text == "İstanbul, ağaç, ışık"
    assert loaded(tmp_path, page.encode()).text == "İstanbul, ağaç, ışık"


def test_nothing_is_fetched_and_no_entity_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    page = f'<!DOCTYPE html [<!ENTITY e SYSTEM "{secret.as_uri()}">]><html><body><p>Text &e;.</p></body></html>'
    assert "secret" not in loaded(tmp_path, page).text


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
TAGS = (
    "p div span h1 h3 ul ol li table tr td th em b pre blockquote section article nav main dl dd sup a button".split()
)


def nodes() -> st.SearchStrategy[str]:
    return st.recursive(
        WORDS.map(lambda word: f" {word} "),
        lambda inner: st.builds(
            lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", st.sampled_from(TAGS), st.lists(inner, max_size=4)
        ),
        max_leaves=25,
    )


@settings(deadline=None)
@given(st.lists(nodes(), max_size=6).map("".join))
def test_every_visible_word_is_kept_in_order(body: str) -> None:
    root = parse(Path("a.html"), f"<html><body>{body}.</body></html>")
    visible = "".join(root.itertext())
    layout = lay_out(render(root)[0])
    text, headings = layout.text, layout.headings
    letters = [c for c in without_space(text) if c.isalpha()]
    assert letters == [c for c in without_space(visible) if c.isalpha()]
    assert all(text[heading.start :].startswith("#" * heading.level + " " + heading.title) for heading in headings)


def test_deep_nesting_is_read_or_refused_and_never_cut() -> None:
    assert shown("<div>" * 2000 + "deep" + "</div>" * 2000) == "deep"
    with pytest.raises(DocumentError, match=r"a\.html: cannot be read to its end: Excessive depth"):
        shown("first" + "<div>" * 3000 + "deep" + "</div>" * 3000)
