"""Objects with a checksum: any changed value is noticed, any layout is accepted; and the files that use them."""

import json
import random
from pathlib import Path

import pytest

from cli.chat.settings import DAMAGED, NAME, Settings, load_settings, recovered_settings, save_settings
from pipeline.errors import StoreError
from pipeline.storage.checked_json import parse_object, with_checksum
from tests.faults import damage

VALUE = {"id": "q1", "n": 3, "share": 0.1, "half": "\ud83d", "nested": {"10": [1, None], "2": True}, "text": "Zoë"}


def test_another_layout_agrees_and_another_value_does_not() -> None:
    text = json.dumps(with_checksum(VALUE))
    assert parse_object(text, needs_checksum=True) == VALUE
    assert parse_object(json.dumps(json.loads(text), indent=4, sort_keys=True), needs_checksum=True) == VALUE
    for name in VALUE:
        changed = {**json.loads(text), name: "another"}
        with pytest.raises(ValueError, match="its checksum does not agree"):
            parse_object(json.dumps(changed))


@pytest.mark.parametrize(
    ("text", "why"),
    [("[1]", "must hold one JSON object"), ("[" * 100_000, "nested too deeply"), ("", "Expecting value")],
)
def test_what_is_no_object(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_object(text)


def test_an_object_of_an_older_version_has_no_checksum() -> None:
    assert parse_object('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="checksum"):
        parse_object('{"a": 1}', needs_checksum=True)


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_chat_json_is_named_or_as_it_was(tmp_path: Path, seed: int) -> None:
    settings = Settings(docs=("/a/b.txt",), model="smollm2-135m", answering='{"max_tokens": 64}', ledger=True)
    save_settings(tmp_path, settings)
    path = tmp_path / NAME
    path.write_bytes(damage(path.read_bytes(), random.Random(seed)))
    try:
        loaded = load_settings(tmp_path)
    except StoreError as error:
        message = str(error)
    else:
        assert loaded == settings
        return
    assert message.startswith(f"{path} cannot be read (")
    recovered, remark = recovered_settings(tmp_path)
    assert recovered == Settings()
    assert remark.startswith(message)
    content = path.read_bytes()
    save_settings(tmp_path, settings)
    assert (recovered_settings(tmp_path), (tmp_path / DAMAGED).read_bytes()) == ((settings, ""), content)
