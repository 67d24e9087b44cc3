"""The chat's commands about the model, the pipeline and the settings: /model, /config, /set, /doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.text import Text

from cli.chat.chat import Chat
from cli.chat.command_types import required
from cli.chat.docs_commands import absolute
from cli.chat.settings import CHAT_SETTINGS, answering_names, changed
from pipeline.presets import preset_or_path
from pipeline.registry import settings_of, stage_name

SETTING_VALUES: Mapping[str, tuple[str, ...]] = {
    "keys": ("emacs", "vi"),
    "thinking": ("auto", "off", "on"),
    **dict.fromkeys(("rewrite", "ahead", "sources", "ledger"), ("on", "off")),
}
"""The values that completion offers for a setting."""


def model_list(chat: Chat, words: list[str]) -> None:
    from pipeline.gguf.catalogue import list_models

    current = getattr(chat.config.generator, "model", "")
    for model in list_models():
        mark = "*" if model.name == current else " "
        place = "here" if model.is_here else "not here: longthread models pull"
        chat.say(Text(f"{mark} {model.name:<24} {place}", style="" if model.is_here else "dim"))
    chat.say(Text("/model use takes one of these names, or the path of a GGUF file.", style="dim"))


def model_use(chat: Chat, words: list[str]) -> None:
    name = required(words, "a name from /model list, or the path of a GGUF file?")
    chat.change(replace(chat.settings, model=absolute(name) if name.endswith(".gguf") else name))
    chat.say(f"Now {chat.pipeline.reader.name} answers.")


def config_show(chat: Chat, words: list[str]) -> None:
    from cli.show import drawing

    chat.say(Text(chat.config.path, style="bold"), drawing(chat.config))


def config_use(chat: Chat, words: list[str]) -> None:
    path = required(words, "which pipeline file?")
    chat.change(replace(chat.settings, config=absolute(str(preset_or_path(path))), model=None, answering="{}"))
    chat.say(" -> ".join(stage_name(stage) for stage in chat.config.stages))


def change_setting(chat: Chat, words: list[str]) -> None:
    """Shows all settings or one of them, or changes one."""
    values = dict(setting_values(chat))
    if len(words) > 1:
        chat.change(changed(chat.settings, words[0], " ".join(words[1:])))
        values = dict(setting_values(chat))
    names = [words[0]] if words and words[0] in values else [] if words else list(values)
    if not names:
        changed(chat.settings, words[0], "")  # raises for the unknown name
    for name in names:
        chat.say(f"{name:<18} {values[name]}")


def setting_values(chat: Chat) -> list[tuple[str, str]]:
    """The settings of the chat, then those of the stage that answers, with their values."""
    values = settings_of(chat.config.generator)
    of_chat = [(name, setting_text(getattr(chat.settings, name))) for name in CHAT_SETTINGS]
    return of_chat + [(name, setting_text(values[name])) for name in answering_names(chat.config)]


def setting_text(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def doctor(chat: Chat, words: list[str]) -> None:
    from cli.doctor import print_findings
    from pipeline.doctor import findings

    chat.display.stop()
    print_findings(list(findings()), chat.console)
