"""Chooses a model's chat template: its file's default, another one in the file, a built-in one, or the user's.

The built-in ones are for files whose template is missing or broken. `plain` is for base models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.models.chat_template import ChatTemplate
from pipeline.models.template_settings import is_file

if TYPE_CHECKING:
    from pipeline.models.settings import EngineSettings
    from pipeline.models.weights import Vocabulary

_KEY = "tokenizer.chat_template"
_NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"

NAMED = {
    "plain": "",
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    ),
    "llama3": (
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
        "{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "llama2": (
        _NO_SYSTEM + "{% for m in messages %}{% if m.role == 'user' %}{% if not loop.first %}{{ bos_token }}{% endif %}"
        "[INST] {{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
    ),
    "gemma": (
        _NO_SYSTEM + "{% for m in messages %}<start_of_turn>{{ 'user' if m.role == 'user' else 'model' }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
    ),
    "vicuna": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content | trim }}\n\n{% elif m.role == 'user' %}"
        "USER: {{ m.content | trim }}\n{% else %}ASSISTANT: {{ m.content | trim }}{{ eos_token }}\n{% endif %}"
        "{% endfor %}ASSISTANT:"
    ),
    "alpaca": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content | trim }}\n\n{% elif m.role == 'user' %}"
        "### Instruction:\n{{ m.content | trim }}\n\n{% else %}### Response:\n{{ m.content | trim }}\n\n{% endif %}"
        "{% endfor %}### Response:\n"
    ),
}


def template_of(vocabulary: Vocabulary, settings: EngineSettings | None = None) -> ChatTemplate:
    """Returns the template of a file, or the one that the settings name, with their arguments and date.

    Raises ModelError for a name that is neither built in nor in the file, and for an unreadable file.
    """
    from pipeline.models.settings import EngineSettings

    settings = settings or EngineSettings()
    specials = tuple(vocabulary.special_texts().items())
    where = vocabulary.path.name
    if settings.chat_template is not None:
        where = f"{where} with chat_template {settings.chat_template}"
    source = _source(vocabulary, settings.chat_template)
    if settings.chat_template is not None:
        vocabulary.protect(source)
    return ChatTemplate(source, vocabulary.bos, specials, where, settings.template_arguments, settings.date)


def _source(vocabulary: Vocabulary, chosen: str | None) -> str:
    brought = {
        key.removeprefix(f"{_KEY}."): text for key, text in vocabulary.metadata.items() if key.startswith(f"{_KEY}.")
    }
    if chosen is None:
        return vocabulary.metadata.get(_KEY) or brought.get("default", "")
    if not is_file(chosen):
        choices = {**NAMED, **brought}
        if chosen not in choices:
            raise ModelError(
                f"chat_template: {vocabulary.path.name} has no template named '{chosen}'; there are: "
                f"{', '.join(choices)}. A file's name ends in .jinja"
            )
        return choices[chosen]
    try:
        return Path(chosen).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"chat_template: {chosen} cannot be read: {error}") from None
