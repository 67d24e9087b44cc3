import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answers.citations import by_match, by_model, cite, claims_of, evidence_in, nearest, unsupported
from pipeline.text.words import content_words, coverage
from pipeline.types import Answer, CiteBy, Passage, Place, ScoredSentence

FIRST = "The ferry leaves at noon. It costs six marks for a child. Dogs stay below."
SECOND = "The clock was repaired by Lucia Ferrand in 1987."


def passage(text: str, source: str = "a.txt", start: int = 0) -> Passage:
    return Passage(source, start, start + len(text), text, place=Place(3))


SHOWN = (passage(FIRST), passage(SECOND, "b.txt", 100))


def quotes(answer: Answer) -> list[tuple[str, str]]:
    return [(c.by, "" if c.quote is None else c.quote.text) for c in answer.citations]


def test_an_answer_has_the_sentence_it_stands_on_and_the_one_nearest_to_the_question() -> None:
    answer = cite("Lucia Ferrand", SHOWN, "Does the ferry cost more than it did when somebody repaired the clock?")
    first, second = answer.citations
    assert (first.number, first.by, first.quote and first.quote.text) == (2, "match", SECOND)
    assert (second.number, second.by, second.quote and second.quote.text) == (
        1,
        "question",
        "The ferry leaves at noon.",
    )
    for citation in answer.citations:
        assert citation.quote is not None
        assert citation.passage is not None
        start = citation.passage.start
        assert citation.quote.text == citation.passage.text[citation.quote.start - start : citation.quote.end - start]
    assert answer.unsupported == ()


def test_the_nearest_sentence_is_not_quoted_twice() -> None:
    answer = cite("A child pays six marks.", SHOWN, "What does it cost for a child?")
    assert [c.by for c in answer.citations] == ["match", "question"]
    assert quotes(answer)[0] == ("match", "It costs six marks for a child.")
    assert quotes(answer)[1][1] != quotes(answer)[0][1]


def test_a_model_that_cites_is_taken_at_its_word_where_its_words_fit() -> None:
    answer = cite("A child pays six marks [1].", SHOWN, "What does a child pay?")
    assert (answer.citations[0].number, *quotes(answer)[0]) == (1, "model", "It costs six marks for a child.")


def test_a_sentence_that_the_model_cited_is_not_quoted_again() -> None:
    text = "Seven beehives stand in the garden. Ada looks after them."
    answer = cite("The answer is seven [1].", (passage(text),), "How many beehives are there?")
    assert [citation.by for citation in answer.citations] == ["model", "question"]
    assert len({citation.quote.span for citation in answer.citations if citation.quote}) == 2


def test_a_number_whose_passage_says_something_else_gives_way_to_evidence() -> None:
    answer = cite("Lucia Ferrand repaired it [1].", SHOWN, "Who repaired the clock?")
    assert [(c.number, c.by) for c in answer.citations] == [(2, "match"), (1, "question")]


@pytest.mark.parametrize(
    ("by", "expected"),
    [("evidence", ["match", "question"]), ("both", ["match", "question"]), ("model", ["model"])],
)
def test_whose_citations_count(by: CiteBy, expected: list[str]) -> None:
    answer = cite("Lucia Ferrand repaired it [1].", SHOWN, "Who repaired the clock?", by)
    assert [c.by for c in answer.citations] == expected
    assert answer.unsupported == (() if by != "model" else ("Lucia", "Ferrand"))


def test_with_model_an_answer_without_numbers_has_no_citation() -> None:
    assert cite("Lucia Ferrand repaired it.", SHOWN, "Who repaired the clock?", "model").citations == ()


def test_names_of_several_sentences_are_each_quoted() -> None:
    shown = (passage("Ada keeps goats. Berta keeps hens. Carl keeps bees. Dora keeps geese. Nobody keeps snails."),)
    answer = cite("Ada, Berta, Carl and Dora", shown, "Who lives on the farm?")
    assert {text for by, text in quotes(answer) if by == "match"} == {
        "Ada keeps goats.", "Berta keeps hens.", "Carl keeps bees.", "Dora keeps geese."
    }  # fmt: skip
    assert answer.unsupported == ()


@pytest.mark.parametrize("mark", ["[2]", "[ 2 ]", "[passage 2]", "[Passages 2]", "[2, 2]"])
def test_the_ways_in_which_models_write_a_number(mark: str) -> None:
    citations = by_model(f"Lucia Ferrand repaired it {mark}.", SHOWN)
    assert [(c.number, c.quote and c.quote.start) for c in citations] == [(2, 100)]


@pytest.mark.parametrize("number", [0, 3, 99])
def test_a_number_that_no_passage_has_is_invalid_and_stays_visible(number: int) -> None:
    citation = cite(f"It was repaired [{number}].", SHOWN, "Who?").citations[0]
    assert (citation.number, citation.is_valid, citation.quote) == (number, False, None)


def test_a_mark_after_the_full_stop_belongs_to_the_sentence_before() -> None:
    citations = by_model("The ferry leaves at noon. [1] Lucia Ferrand repaired the clock. [2]", SHOWN)
    assert [(c.number, c.support) for c in citations] == [(1, 1.0), (2, 1.0)]


def test_a_citation_that_shares_no_word_with_the_answer_has_no_support() -> None:
    (citation,) = cite("Bananas are yellow [1].", SHOWN, "Colour?", "model").citations
    assert citation.is_valid
    assert citation.support == 0


def test_words_that_stand_nowhere_are_tied_to_nothing() -> None:
    answer = cite("bananas are yellow", SHOWN, "Which colour has the clock?")
    assert quotes(answer) == [("question", SECOND), ("question", "The ferry leaves at noon.")]
    assert by_match("bananas are yellow", evidence_in(SHOWN, ""), "Which colour?") == []


def test_the_compressors_scores_say_which_sentence_is_nearest() -> None:
    scored = tuple(
        ScoredSentence(start, end, score) for start, end, score in ((0, 25, 0.1), (26, 57, 0.2), (58, 74, 0.9))
    )
    one = Passage("a.txt", 0, len(FIRST), FIRST, sentences=scored)
    found = nearest(evidence_in((one,), "When does the ferry leave?"), 2)
    assert [c.quote and c.quote.text for c in found] == ["Dogs stay below.", "It costs six marks for a child."]
    assert [c.quote and c.quote.text for c in nearest(evidence_in((passage(FIRST),), "ferry"), 1)] == [
        "The ferry leaves at noon."
    ]


def test_a_bare_heading_is_not_the_nearest_sentence() -> None:
    for heading in ("Ferry", "# When the ferry goes"):
        shown = (passage(f"{heading}\n\nThe boat goes at noon and at six."),)
        (citation,) = nearest(evidence_in(shown, "When does the ferry go?"), 1)
        assert citation.quote is not None
        assert citation.quote.text == "The boat goes at noon and at six."


def test_a_follow_up_is_cited_by_what_was_searched_for() -> None:
    """Of two sentences with the answer's words, and of all sentences for a bare number, the query's is the nearer."""
    shown = (passage("And who asked her? The master is Ada."), passage("The master of the Zephyrus is Ada.", "b.txt"))
    question, query = "And who is her master?", "And who is the Zephyrus's master?"
    for text, by in (("Ada is the master.", "match"), ("Not in the documents.", "question")):
        first = cite(text, shown, question, query=query).citations[0]
        assert (first.by, first.quote and first.quote.text) == (by, "The master of the Zephyrus is Ada.")
    one = (passage("And who asked her? It is hers. The Zephyrus sails on."),)
    assert quotes(cite("[1]", one, "And where is she?", "model", query="Where does the Zephyrus sail?")) == [
        ("model", "The Zephyrus sails on.")
    ]


def test_a_heading_is_not_quoted_beside_a_sentence() -> None:
    shown = (passage("# Keys\n\nThe key of the tower is 7431."), passage("The gate is green.", "b.txt"))
    one, two = "The key of the tower is 7431.", "The gate is green."
    assert quotes(cite(one, shown[:1], "What is the key of the tower?")) == [("match", one)]
    assert quotes(cite(one, shown, "What is the key of the tower?")) == [("match", one), ("question", two)]
    assert quotes(cite("bananas", (passage("# Keys"),), "Which key?")) == [("question", "# Keys")]


def test_a_summary_is_quoted_as_a_whole() -> None:
    from pipeline.types import Span

    made = Passage("a.txt", 0, 40, "Seven hives. Two goats.", spans=(Span("a.txt", 0, 40),))
    assert quotes(cite("seven hives", (made,), "How many?")) == [("match", "Seven hives. Two goats.")]


@pytest.mark.parametrize(
    ("text", "is_abstention"),
    [
        ("Not in the documents.", True),
        ("The answer is not in the passages.", True),
        ("This is not mentioned in the documents. [1]", True),
        ("The ferry is not in the documents of the harbour master, who sells tickets for six marks.", False),
        ("Six marks.", False),
    ],
)
def test_the_models_own_word_that_it_does_not_know(text: str, is_abstention: bool) -> None:
    assert cite(text, SHOWN, "What?").is_abstention is is_abstention


def test_names_and_numbers_that_stand_in_no_quote_are_listed() -> None:
    text = "Maria Ferrand did it in 1988 for 16 marks, not six, in Skelby [7]."
    question = "Who in Skelby?"
    found = by_match("Lucia Ferrand did it in 1987.", evidence_in(SHOWN, question), question)
    assert unsupported(text, found, question, SHOWN) == ("Maria", "1988", "16", "six")
    found += by_match("six marks", evidence_in(SHOWN, question), question)
    assert unsupported(text, found, question, SHOWN) == ("Maria", "1988", "16")


@pytest.mark.parametrize(
    ("answer", "document"),
    [
        ("thirty-four", "It stood still for 34 years."),
        ("34", "It stood still for thirty-four years."),
        ("Thirty-four years.", "It stood still for 34 years."),
        ("6,018", "There are 6018 ships."),
        ("6018", 'ship,tons\nAurora,"6,018"\n'),
        ("10.2", "gauge,level,unit\nNorth Pier,10.2,m\nSouth Pier,9.1,m\n"),
        ("10.2 m at North Pier", "gauge,level,unit\nNorth Pier,10.2,m\nSouth Pier,9.1,m\n"),
        ("9388771", "Zephyrus,9388771,Liberia\nAurora,1,Malta\n"),
        ("Liberia", "Zephyrus,9388771,Liberia\nAurora,1,Malta\n"),
        ("8080", "listen:\n  port:8080\n"),
        ("7.40 am", "It opens at 7:40."),
        ("6.00", "It costs 6 marks."),
        ("€1,200", "It costs 1200 euros."),
        ("In the 1980s", "It happened in 1987."),
        ("Sieben", "Dort stehen 7 Stöcke."),
        ("Um 12 Uhr.", "Die Fähre fährt um zwölf Uhr mittags ab."),
        ("Ferrand's", "Lucia Ferrand repaired it."),
        ("May 5, 1987", "It happened on 5 May 1987."),
        ("Yes, it does.", "It opens at 7:40."),
        ("However, the clock is old.", "The clock is very old."),
        ("According to the passages, at noon.", "It leaves at noon."),
        ("Die Fähre legt am Mittag ab.", "Die Fähre fährt um zwölf Uhr mittags ab."),
    ],
)
def test_no_false_alarm(answer: str, document: str) -> None:
    assert cite(answer, (passage(document),), "What does it say?").unsupported == ()


@pytest.mark.parametrize(
    ("answer", "document", "expected"),
    [
        ("1.02", "North Pier,10.2,m", ("1.02",)),
        ("12", "There are seven hives.", ("12",)),
        ("twelve hives", "There are seven hives.", ("twelve",)),
        ("15kg", "It weighs 10kg.", ("15kg",)),
        ("1986", "It was built in 1987.", ("1986",)),
        ("6,108", "There are 6018 ships.", ("6,108",)),
        ("Maria Ferrand", "Lucia Ferrand repaired it.", ("Maria",)),
        ("Skelby is the town.", "The town is Orla.", ("Skelby",)),
        ("Maria Braun hat die Uhr repariert.", "Die Uhr wurde von Lucia Ferrand repariert.", ("Maria", "Braun")),
        ("Élodie", "Lucia Ferrand repaired it.", ("Élodie",)),
    ],
)
def test_what_stands_nowhere_is_said(answer: str, document: str, expected: tuple[str, ...]) -> None:
    assert cite(answer, (passage(document),), "What does it say?").unsupported == expected


def test_what_the_question_or_a_heading_says_needs_no_quote() -> None:
    shown = (Passage("a.txt", 0, 17, "It opens at noon.", title="Orla Garden"),)
    assert (
        cite("The Orla garden in Skelby opens at noon.", shown, "When does the one in Skelby open?").unsupported == ()
    )


def test_claims_are_numbers_and_names() -> None:
    text = "Yes, Lucia Ferrand paid 6,018 marks at 7:40 in twenty-one towns. However, It took B12 and no one [3]."
    assert claims_of(text) == ["Lucia", "Ferrand", "6,018", "7:40", "twenty-one", "B12"]
    assert claims_of("no names, nothing") == []
    assert claims_of("") == []


@pytest.mark.parametrize(
    ("text", "document", "question"),
    [
        ("The report [2024] says so.", "The report [2024] says that the bridge is closed.", "Which report?"),
        ("a[0] is seven", "let a[0] = 7; a[1] = 9;", "What is the first?"),
        ("monks [12]", "It was built by monks [12]. It burnt in 1301.", "Who built it?"),
        ("the lists [1] and [2]", "See the lists [1] and [2] for all names.", "Where are the names?"),
        ("row[3]", "The cell is row[3], counted from zero.", "Which cell?"),
    ],
)
def test_brackets_of_the_documents_are_no_citations(text: str, document: str, question: str) -> None:
    shown = (passage(document), passage("Dogs stay below.", "b.txt"), passage("It rains.", "c.txt"))
    answer = cite(text, shown, question)
    assert answer.text == text
    assert all(citation.by != "model" and citation.is_valid for citation in answer.citations)
    assert answer.citations[0].number == 1
    assert answer.unsupported == ()


def test_a_bracket_of_the_question_is_no_citation() -> None:
    assert by_model("a[1] is nine", SHOWN, "What is a[1]?") == []
    assert [c.number for c in by_model("a[1] is nine", SHOWN, "What is it?")] == [1]


def test_content_words_are_stems_without_stop_words() -> None:
    assert content_words("Who repaired the clocks in 1987, and what is a clock?") == ("repair", "clock", "1987")
    assert content_words("the of and") == ()
    assert coverage(("repair", "clock", "mars"), "A clock repairer repairs") == pytest.approx(2 / 3)
    assert coverage((), "anything") == 0


def test_a_bare_number_is_quoted_by_the_questions_words() -> None:
    answer = cite("[1]", SHOWN, "What does a child pay?")
    assert quotes(answer)[0] == ("model", "It costs six marks for a child.")
    assert cite("[1]", SHOWN, "What does a child pay?", "model").citations == answer.citations[:1]


@given(st.text(max_size=120), st.text(max_size=60), st.lists(st.text(max_size=120), max_size=3))
def test_every_quote_lies_in_its_passage_whatever_the_text(text: str, question: str, documents: list[str]) -> None:
    shown = tuple(passage(document, f"{n}.txt", 7) for n, document in enumerate(documents))
    for by in ("evidence", "both", "model"):
        answer = cite(text, shown, question, by)
        for citation in answer.citations:
            if citation.quote is None or citation.passage is None:
                assert citation.by == "model"
                continue
            assert shown[citation.number - 1] == citation.passage
            start, end = citation.quote.start - 7, citation.quote.end - 7
            assert citation.passage.text[start:end] == citation.quote.text
