"""Text files: every encoding, every line end; and code by its suffix."""

from __future__ import annotations

import codecs
import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents.load import load
from pipeline.documents.text import decode
from pipeline.types import Document, Place

TURKISH = "İstanbul'da güneşli bir gün. Çocuklar ağaçların altında şarkı söylüyor, ışık her yerde.\n" * 3
RUSSIAN = (
    "Был холодный весенний день, и часы на башне пробили десять раз. Смотритель маяка поднялся по лестнице, чтобы "
    "проверить лампу, которую зажигают каждый вечер. Он жил здесь один уже двадцать лет.\n"
) * 3
FRENCH = "L'été dernier, nous avons visité une forêt près de la frontière. Où êtes-vous allés après le déjeuner ?\n" * 3


def test_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "town-hall_notes.txt"
    path.write_bytes(b"One.\r\nTwo.\rThree.\n")
    text = "One.\nTwo.\nThree.\n"
    sha256 = hashlib.sha256(b"One.\r\nTwo.\rThree.\n").hexdigest()
    assert load(path) == Document(path.as_posix(), text, "text", sha256, "town hall notes", format="text")
    assert load(path).place(text.index("Three")) == Place(3)


def test_a_title_line_near_the_top_is_the_title(tmp_path: Path) -> None:
    path = tmp_path / "1342-0.txt"
    path.write_text("The e-book of a novel\n\nTitle: Pride and Prejudice\nAuthor: Jane Austen\n\nText.")
    assert load(path).title == "Pride and Prejudice"


@pytest.mark.parametrize(
    ("name", "kind"), [("a.py", "code:python"), ("a.RS", "code:rust"), ("a.yaml", "yaml"), ("a.log", "text")]
)
def test_the_suffix_tells_code(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text("# x = 1\n")
    document = load(path)
    assert (document.kind, document.text) == (kind, "# x = 1\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_decoded_without_a_note(encoding: str) -> None:
    text = TURKISH + RUSSIAN + "你好😀"
    assert decode(Path("a.txt"), text.encode(encoding)) == (text, ())


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE])
def test_a_byte_order_mark_decides(mark: bytes) -> None:
    encoding = "utf-16-be" if mark == codecs.BOM_UTF16_BE else "utf-16-le"
    assert decode(Path("a.txt"), mark + RUSSIAN.encode(encoding))[0] == RUSSIAN


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TURKISH, "cp1254"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (FRENCH, "cp1252"),
        ("A café – naïve.", "cp1252"),
    ],
)
def test_other_encodings_are_guessed_and_told(text: str, encoding: str) -> None:
    decoded, notes = decode(Path("a.txt"), text.encode(encoding))
    assert decoded == text
    assert [note.startswith("not UTF-8: decoded as ") for note in notes] == [True]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff")))
def test_utf8_comes_back_as_it_is(text: str) -> None:
    assert decode(Path("a.txt"), text.encode()) == (text, ())
