import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.normal import Comparable, fold_shapes, normal

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    "İIıiﬁß‐—’\u00ad\u0307\u0301\u0345ἁ한ᅡᆨ\ufeff٣５ﾊﾞ", max_size=12
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ﬁshery’s oﬃce", "the fishery's office"),
        ("ＳＫＥＬＢＹ　１２", "skelby 12"),
        ("Mu\u0308ller", "müller"),
        ("co\u00adop\u200berate\ufeff", "cooperate"),
        ("1987–1990 — 20‑18", "1987-1990 - 20-18"),
        ("İZMİR Izmir ızmır", "izmir izmir izmir"),
        ("Straße", "strasse"),
        ("٣٤", "34"),
        ("ﾊﾞｽ", "バス"),
    ],
)
def test_shapes_and_case_are_undone(text: str, expected: str) -> None:
    assert normal(text) == expected


@given(TEXTS)
@settings(deadline=None)  # the first call loads the word lists
def test_normalising_again_changes_nothing(text: str) -> None:
    assert normal(normal(text)) == normal(text)
    assert fold_shapes(fold_shapes(text)) == fold_shapes(text)


@given(TEXTS)
@settings(deadline=None)  # the first call loads the word lists
def test_composed_and_decomposed_are_one(text: str) -> None:
    assert normal(unicodedata.normalize("NFD", text)) == normal(unicodedata.normalize("NFC", text))


@given(TEXTS, st.data())
@settings(deadline=None)  # the first call loads the word lists
def test_every_place_leads_back_inside_the_original(text: str, data: st.DataObject) -> None:
    comparable = Comparable.of(text)
    assert comparable.text == normal(text)
    start = data.draw(st.integers(0, len(comparable.text)))
    end = data.draw(st.integers(start, len(comparable.text)))
    first, last = comparable.span(start, end)
    assert 0 <= first <= last <= len(text)
    assert comparable.text[start:end] in normal(text[first:last])


def test_a_place_leads_to_the_characters_that_it_came_from() -> None:
    original = "Der o\u00adﬃzielle Mu\u0308ller, ＮＲ 7"
    comparable = Comparable.of(original)
    for word, expected in [("offizielle", "o\u00adﬃzielle"), ("müller", "Mu\u0308ller"), ("nr 7", "ＮＲ 7")]:
        start = comparable.text.index(word)
        first, last = comparable.span(start, start + len(word))
        assert original[first:last] == expected
    with pytest.raises(ValueError, match="must be a span"):
        comparable.span(3, 2)
