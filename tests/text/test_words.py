"""One splitter for search, citations and memory: inputs of the kinds that three rules used to split in three ways."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.retrieval.word_index import WordIndex
from pipeline.text.languages import language_of
from pipeline.text.normal import fold_case
from pipeline.text.tokens import tokens
from pipeline.text.words import content_words, coverage, word_forms, words

LETTERS = st.text(st.characters(categories=["L", "M", "N", "P", "Z", "Cf"]), max_size=40)


def test_english_words() -> None:
    assert words("The otters' holts, and 42 holting otters") == ["otter", "holt", "42", "holt", "otter"]
    assert content_words("Who mended the nets in 1987, and what is a net?") == ("mend", "net", "1987")


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("The ﬁrst oﬃcer is Ada Quill.", "office officer Ada"),
        ("Der Mu\u0308ller heißt Jo\u0308rg", "Müller Jörg"),
        ("Marlin,7421133,Panama", "Marlin 7421133 Panama"),
        ("host:gamma;port:9090;retries:3", "gamma port 9090 retries 3"),
        ("keel_m:10.2", "keel 10.2"),
        ("The moved co\u00adoperative", "cooperative"),
        ("thirty-four of 6,018 oxen", "34 6018"),
        ("the 34 of 6018 oxen", "thirty-four 6 018"),
        ("def oldHarbourWall(): return wind_speed", "old harbour wall, wind speed"),
        ("oldHarbourWall", "oldharbourwall"),
        ("windSpeed", "wind_speed"),
        ("ＭＡＲＬＩＮ", "marlin"),
        ("Die Fähren legen vom Nordpier ab und sind rot.", "Wie heißt die Fähre am Nordpier?"),
        ("Kadınlar İstanbul'da çalışıyor ve evler büyük.", "İstanbul'un kadınları ne yapar, kaç ev var?"),
        ("İZMİR", "izmir"),
    ],
)
def test_words_meet(text: str, question: str) -> None:
    question_words = content_words(question)
    assert question_words
    if "?" not in question:
        assert coverage(question_words, text) == 1
    assert coverage(question_words, text) >= 0.5
    assert WordIndex.build([(1, text), (2, "a dull remark")]).search(question, 1)[0][0] == 1


@pytest.mark.parametrize(
    ("texts", "questions"),
    [
        (
            ["博物馆星期二闭馆，馆长是李文华。", "灯塔建于一八九三年。", "渔船每天清晨五点离开南港。"],
            ["谁是博物馆馆长？", "灯塔是哪一年建的？", "渔船几点离开？"],
        ),
        (
            ["灯台の高さは二十七メートルです。", "漁船は毎朝五時に港を出ます。", "パン屋の鈴木さんです。"],
            ["灯台はどのくらい高いですか？", "漁船は何時に出ますか？", "パン屋は誰ですか？"],
        ),
        (["ตลาดเปิดทุกวันเสาร์", "ประภาคารสูงยี่สิบเมตร"], ["ตลาดเปิดวันไหน", "ประภาคารสูงเท่าไร"]),
        (
            ["등대는 북쪽에 있습니다.", "시장은 토요일에 열립니다."],
            ["등대가 어디에 있습니까?", "시장이 언제 열립니까?"],
        ),
    ],
    ids=["Chinese", "Japanese", "Thai", "Korean"],
)
def test_scripts_without_spaces_are_found_by_words_alone(texts: list[str], questions: list[str]) -> None:
    index = WordIndex.build(enumerate(texts))
    assert [index.search(question, 1)[0][0] for question in questions] == list(range(len(texts)))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Who was in the war?", "english"),
        ("What did Van der Berg and De Vries die of?", "english"),
        ("Los Angeles, Las Vegas, El Paso", "english"),
        ("Marlin Panama", "english"),
        ("", "english"),
        ("Wie heißt der Wärter?", "german"),
        ("Wann legt die Fähre am Nordpier ab?", "german"),
        ("İzmir'in nüfusu kaçtır?", "turkish"),
        ("Kale hangi yıl yapıldı?", "turkish"),
        ("Quelle est la hauteur du phare ?", "french"),
        ("¿Cuándo se construyó el faro?", "spanish"),
        ("Hoe hoog is de toren en waar staat hij?", "dutch"),
    ],
)
def test_the_language_changes_with_clear_evidence_alone(text: str, language: str) -> None:
    assert language_of({token.casefold() for token in tokens(text)}) == language


def test_a_question_of_unknown_language_meets_a_document_of_a_known_one() -> None:
    text = "Die Wärter kosten nichts, und sie wohnen in den Leuchttürmen."
    for word in ("Wärter", "kosten", "Leuchttürmen", "wohnen"):
        assert coverage(content_words(word), text) == 1


@given(LETTERS)
@settings(deadline=None)  # the first call loads the word lists
def test_composed_and_decomposed_give_the_same_words(text: str) -> None:
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert words(composed) == words(decomposed)
    assert content_words(composed) == content_words(decomposed)


@given(LETTERS)
@settings(deadline=None)  # the first call loads the word lists
def test_a_text_covers_itself(text: str) -> None:
    question_words = content_words(text)
    assert set(question_words) <= word_forms(text)
    assert coverage(question_words, text) == (1 if question_words else 0)


@given(
    st.lists(st.sampled_from("Fähre und der ist deniz için ve bir nets Werft's wall_m 7,5 漁船".split()), min_size=1)
)
def test_a_word_meets_itself_whatever_language_its_text_is_in(text: list[str]) -> None:
    for word in text:
        question_words = content_words(word)
        assert coverage(question_words, " ".join(text)) == (1 if question_words else 0)


@given(LETTERS)
@example("\u1fe2")  # one character, whose case folding has three and is composed again
@settings(deadline=None)  # the first call loads the word lists
def test_words_are_folded_and_not_empty(text: str) -> None:
    assert all(word and word == fold_case(word) for word in words(text))
