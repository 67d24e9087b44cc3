"""What lines of a conversation want, which document they name, and corrections put into questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.conversation.corrections import corrected, is_other
from pipeline.conversation.utterances import Kind, Language, read_utterance, without_small_talk
from pipeline.document_names import Meant, find_document

UTTERANCES: dict[str, tuple[Kind, Language, str]] = {
    "Good morning, longthread": ("greeting", "en", ""),
    "ok, bye": ("leave", "en", ""),
    "no thanks": ("thanks", "en", ""),
    "hi, help please": ("help", "en", ""),
    "GÜNAYDIN": ("greeting", "tr", ""),
    "ÇIKIŞ": ("leave", "tr", ""),
    "Grüß Gott": ("greeting", "de", ""),
    "İyi akşamlar!": ("greeting", "tr", ""),
    "what's ferry.md about": ("summary", "en", "ferry.md"),
    "Can you give me a short summary of the lease, please?": ("summary", "en", "the lease"),
    "tl;dr": ("summary", "en", ""),
    "Fass bitte den Mietvertrag kurz zusammen.": ("summary", "de", "den Mietvertrag"),
    "Worum geht's?": ("summary", "de", ""),
    "Bu belge ne hakkında?": ("summary", "tr", "Bu belge"),
    "İskele.md'yi özetler misin?": ("summary", "tr", "İskele.md'yi"),
    "I meant the other one": ("correction", "en", "the other one"),
    "Sorry, I meant Straße 9.": ("correction", "en", "Straße 9"),
    "Nein, ich meinte im Winter": ("correction", "de", "im Winter"),
    "Hayır, kışın demek istedim.": ("correction", "tr", "kışın"),
    "Was für Dokumente gibt es?": ("files", "de", ""),
    "kaç dosya var": ("files", "tr", ""),
    "Thanks. And in winter?": ("question", "en", "And in winter?"),
    "Nein, wann fährt die Fähre?": ("question", "de", "wann fährt die Fähre?"),
    "Feribot kışın ne zaman kalkıyor?": ("question", "tr", "Feribot kışın ne zaman kalkıyor?"),
}
QUESTIONS = """
What are the rules about dogs?
No dogs on board?
Who exits first?
What do I have to pay?
Which documents do I need for a passport?
Hello World in C?
Hi-fi systems in the hall?
What did the captain mean?
Was steht auf dem Schild am Tor?
How do I quit the club?
Is there help for the old?
""".strip().splitlines()
TITLES = {
    "/d/ferry.md": "The ferry to Tarn Island",
    "/d/observatory.md": "Handbook of the Korrin Observatory",
    "/d/town-hall.txt": "",
    "/d/Über uns.md": "",
}


@pytest.mark.parametrize(("line", "wanted"), UTTERANCES.items())
def test_lines_are_told_apart(line: str, wanted: tuple[Kind, Language, str]) -> None:
    utterance = read_utterance(line)
    assert (utterance.kind, utterance.language, utterance.about) == wanted


@pytest.mark.parametrize("line", QUESTIONS)
def test_questions_stay_questions(line: str) -> None:
    assert read_utterance(line).kind == "question"


@given(st.text(max_size=60))
def test_any_text_is_read_and_nothing_is_made_up(text: str) -> None:
    utterance = read_utterance(text)
    assert without_small_talk(text) in text
    if utterance.kind in ("summary", "correction"):
        assert utterance.about in " ".join(text.split()) or not text.isascii()


@pytest.mark.parametrize(
    ("about", "source"),
    [
        ("ferry.md", "/d/ferry.md"),
        ("the ferry document", "/d/ferry.md"),
        ("ferry.md'yi", "/d/ferry.md"),
        ("ferry.md dosyasını", "/d/ferry.md"),
        ("Town Hall", "/d/town-hall.txt"),
        ("the Korrin handbook", "/d/observatory.md"),
        ("das Handbuch Observatory", None),
        ("über uns", "/d/Über uns.md"),
        ("U\u0308BER UNS.md", "/d/Über uns.md"),
        ("the clock", None),
    ],
)
def test_a_document_is_known_by_its_names(about: str, source: str | None) -> None:
    assert find_document(about, TITLES) == (Meant("one", (source,)) if source else Meant("none"))


def test_this_document_is_the_only_one_or_the_last_cited() -> None:
    for about in ("", "this document", "it", "das Dokument", "bu belge"):
        assert find_document(about, {"/d/a.md": ""}) == Meant("one", ("/d/a.md",))
        assert find_document(about, TITLES, "/d/ferry.md") == Meant("one", ("/d/ferry.md",))
        assert find_document(about, TITLES) == Meant("ask", tuple(sorted(TITLES)))
    for about in ("all documents", "everything", "alle Dokumente", "belgeleri"):
        assert find_document(about, TITLES) == Meant("all", tuple(sorted(TITLES)))
    assert find_document("fery.md", TITLES) == Meant("ask", ("/d/ferry.md",))


@pytest.mark.parametrize(
    ("question", "correction", "text"),
    [
        ("Which ship has a mast of 12 metres?", "15 metres", "Which ship has a mast of 15 metres?"),
        ("What does a 10 m boat cost?", "15 m.", "What does a 15 m boat cost?"),
        ("How much is it for a child under twelve?", "six", "How much is it for a child under six?"),
        ("What is the fee for 2 dogs and 3 cats?", "4 cats", "What is the fee for 2 dogs and 4 cats?"),
        ("What is the fee for 2 dogs and 3 cats?", "7", "What is the fee for 2 dogs and 3 cats? 7"),
        ("When did Teodora Vash find it?", "Lucia Ferrand", "When did Lucia Ferrand find it?"),
        ("How large is the main mirror?", "the second mirror", "How large is the second mirror?"),
        ("Does it sail in summer?", "in winter", "Does it sail in winter?"),
        ("What does the ferry cost?", "the bus", "What does the ferry cost? the bus"),
        ("How many bees are there?", "how many apple trees there are", "how many apple trees there are?"),
        ("Wann fährt die Fähre im Sommer?", "im Winter", "Wann fährt die Fähre im Winter?"),
        ("Wie lang ist ein Mast von zwölf Metern?", "15 Metern", "Wie lang ist ein Mast von 15 Metern?"),
        ("12 metre direği olan gemi hangisi?", "15 metre", "15 metre direği olan gemi hangisi?"),
        ("Feribot yazın ne zaman kalkıyor?", "kışın", "Feribot kışın ne zaman kalkıyor?"),
    ],
)
def test_a_correction_takes_the_place_of_its_counterpart(question: str, correction: str, text: str) -> None:
    assert corrected(question, correction).text == text


def test_the_other_one_names_nothing() -> None:
    assert all(map(is_other, ("the other one", "other one.", "den anderen", "die andere", "ötekini", "diğerini")))
    assert not any(map(is_other, ("the other boat", "15", "die andere Fähre")))
