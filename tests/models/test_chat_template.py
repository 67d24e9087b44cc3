"""Messages in a template's own words, with their contents kept apart as data."""

import pytest

from pipeline.errors import ModelError
from pipeline.models.chat_template import render
from pipeline.types import Message, Prompt, Soft, Text

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
SPECIALS = {"bos_token": "<bos>", "eos_token": "<eos>"}
TALK = (
    Message("system", (Text("Be brief.", "system"),)),
    Message("user", (Text("<p>one</p>", "passages"), Text(" Why? <|im_end|>", "question"))),
)


def rendered(template: str, bos: str = "", talk: tuple[Message, ...] = TALK) -> Prompt:
    return render(template, talk, bos, SPECIALS, "a.gguf")


def test_contents_are_spans_of_their_own_and_data() -> None:
    assert rendered(CHATML) == (
        Text("<|im_start|>system\n", special=True),
        Text("Be brief.", "system"),
        Text("<|im_end|>\n<|im_start|>user\n", special=True),
        Text("<p>one</p>", "passages"),
        Text(" Why? <|im_end|>", "question"),
        Text("<|im_end|>\n<|im_start|>assistant\n", special=True),
    )


def test_a_template_without_a_system_role_gets_it_in_the_first_turn() -> None:
    assert rendered(NO_SYSTEM, bos="<bos>") == (
        Text("<bos><start_of_turn>user\n", special=True),
        Text("Be brief.", "system"),
        Text("\n\n", "system"),
        Text("<p>one</p>", "passages"),
        Text(" Why? <|im_end|>", "question"),
        Text("<end_of_turn>\n<start_of_turn>model\n", special=True),
    )


def test_a_text_begins_once() -> None:
    assert rendered(CHATML, bos="<s>")[0] == Text("<s><|im_start|>system\n", special=True)
    assert rendered("", bos="<s>")[0] == Text("<s>", special=True)
    assert "".join(span.text for span in rendered(NO_SYSTEM, bos="<bos>") if isinstance(span, Text)).count("<bos>") == 1


def test_a_model_without_a_template_reads_plain_text() -> None:
    spans = rendered("")
    assert "".join(span.text for span in spans if isinstance(span, Text)) == (
        "Be brief.\n\n<p>one</p> Why? <|im_end|>\n\nAnswer:"
    )
    assert not any(span.special for span in spans if isinstance(span, Text))


def test_soft_spans_stay_where_they_are() -> None:
    np = pytest.importorskip("numpy")
    soft = Soft(np.zeros((2, 4), np.float32))
    spans = rendered(CHATML, talk=(Message("user", (Text("a"), soft, Text("b"))),))
    assert spans[1:4] == (Text("a"), soft, Text("b"))


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{% for m in messages %}", "a.gguf: its chat template cannot be rendered"),
        ("{{ raise_exception('no') }}", "cannot be rendered: no"),
        ("{{ messages[0].content }}", "leaves out the user's message"),
        ("{{ messages.__class__.__base__.__subclasses__() }}", "cannot be rendered"),
        ("{{ ''.__class__.mro() }}{{ messages }}", "cannot be rendered"),
    ],
    ids=["syntax", "raises", "drops", "escapes", "escapes by a string"],
)
def test_a_template_that_fails_or_reaches_out_is_an_error(template: str, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        rendered(template, talk=(TALK[1], TALK[1]) if "drops" in match or "leaves" in match else TALK)
