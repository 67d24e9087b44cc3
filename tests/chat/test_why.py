"""/why in the chat: what the last answer stands on."""

from tests.chat.conftest import Talk


def test_why_names_the_passage_of_the_last_answer(talk: Talk) -> None:
    done = talk("When was the tower built?", "/why", "/ledger")
    assert done.code == 0, done.err
    rows = [line for line in done.lines if line.startswith("█")]
    assert "tower.md" in rows[0]
    assert "passages and sentences left out in turn" in done.out
    assert any(line.startswith("why: ") for line in done.lines)


def test_without_an_answer_it_says_so(talk: Talk) -> None:
    done = talk("/why")
    assert done.code == 2
    assert "nothing has been answered since this session was opened" in done.err
