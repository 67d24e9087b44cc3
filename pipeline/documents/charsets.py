"""Which encoding bytes are in: byte order marks, labels as browsers understand them, zero bytes, and a guess.

A label means what the table of the WHATWG (https://encoding.spec.whatwg.org/#names-and-labels) says, which is not what
its name says: pages that call themselves iso-8859-1 hold the quotation marks of windows-1252.
"""

from __future__ import annotations

import codecs

MARKS = (  # the longest first: UTF-32's mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MEANT = {  # Python's name of the labelled encoding, and the encoding that decodes it on the web
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "utf-16": "utf-8",  # a label that can be read byte by byte is not in UTF-16
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
_UNKNOWN_TO_PYTHON = {
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ms_kanji": "cp932",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "chinese": "gb18030",
    "big5-hkscs": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "korean": "cp949",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "dos-874": "cp874",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "iso-8859-8-i": "iso8859_8",
    "logical": "iso8859_8",
    "unicode-1-1-utf-8": "utf-8",
    "x-unicode20utf8": "utf-8",
    "latin1": "cp1252",
    "x-cp1252": "cp1252",
    "x-cp1251": "cp1251",
}
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "mbcs", "oem"}
"""Codecs of Python that decode to text, and that no browser knows."""
_CONTROLS = bytes({*range(1, 32)} - set(b"\t\n\r\f\b\x1b"))  # form feeds, backspaces and colours stand in logs
_SAMPLE = 8192
_TURKISH = frozenset("çğıöşüâîûÇĞİÖŞÜÂÎÛ")
_DOTS = b"\xfd\xdd"
"""ı and İ in windows-1254, where the other encodings of Europe have letters that are rare beside only ö, ü and ç."""
_GOOD_PER_BROKEN = 3  # bytes beyond ASCII; in other encodings one pair in six or fewer is UTF-8 by chance
_FEW_ERRORS = 1000  # one character in so many may be broken before a label counts as wrong


def by_label(label: str) -> str | None:
    """Python's name of the encoding that browsers decode a label with; None for a label that nobody knows."""
    label = label.strip().lower()
    try:
        name = codecs.lookup(_UNKNOWN_TO_PYTHON.get(label, label)).name
        b"a".decode(name, "replace")  # Python also has codecs that turn bytes into bytes, such as hex and zlib
    except (LookupError, ValueError):
        return None
    return None if name in _NO_CHARSETS else _MEANT.get(name, name)


def decode_labelled(data: bytes, encoding: str) -> tuple[str, int] | None:
    """The text, and how many characters of it are broken; None where so many are that the label is wrong.

    Bytes that the single-byte encodings of Windows leave open are control characters, as browsers have it.
    """
    try:
        return data.decode(encoding), 0
    except UnicodeDecodeError:
        pass
    if encoding.startswith("cp125"):
        return data.decode(encoding, _OPEN_BYTES), 0
    text = data.decode(encoding, "replace")
    n_broken = text.count("\ufffd")
    return (text, n_broken) if n_broken * _FEW_ERRORS <= len(text) or n_broken == 1 else None


def _open_byte(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


_OPEN_BYTES = "longthread-open-bytes"
codecs.register_error(_OPEN_BYTES, _open_byte)


def utf16_without_mark(data: bytes) -> str | None:
    """`utf-16-le` or `utf-16-be` for a text whose every other byte is often zero; None for all else."""
    sample = data[: _SAMPLE - _SAMPLE % 2]
    if len(data) % 2 or len(sample) < 4:
        return None
    n = len(sample) // 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    if max(even, odd) < 0.05 * n or min(even, odd) > 0.01 * n:
        return None
    text = sample.decode(encoding, "ignore")
    n_shown = sum(character.isprintable() or character in "\t\n\r\f\ufeff" for character in text)
    return encoding if n_shown >= 0.98 * n else None


def is_binary(data: bytes) -> bool:
    """Whether these bytes, a whole file or its beginning, are no text.

    Zero bytes tell, unless they are those of UTF-16 or UTF-32, or there are as few as a torn log holds.
    """
    n_zero = data.count(0)
    if not n_zero or data.startswith(tuple(mark for mark, _ in MARKS)) or utf16_without_mark(data):
        return False
    n_controls = len(data) - len(data.translate(None, _CONTROLS))
    return len(data) < 16 or n_zero > max(1, len(data) // 100) or n_controls > len(data) // 1000


def guess(data: bytes) -> str | None:
    """The encoding that fits best; where too few letters tell, the most common one (cp1252) if the bytes are valid."""
    from charset_normalizer import from_bytes

    if _is_turkish(data):
        return "cp1254"
    telling = sum(byte >= 0x80 for byte in data)
    if telling < 8 and _fits(data, "cp1252"):
        return "cp1252"
    matches = from_bytes(data)
    best = matches.best()
    if best is None:
        return "cp1252" if _fits(data, "cp1252") else None
    as_good = {
        encoding
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence)
        for encoding in match.could_be_from_charset
    }
    return "cp1252" if "cp1252" in as_good else best.encoding


def decode_mostly_utf8(data: bytes) -> tuple[str, int] | None:
    """The text of bytes that are UTF-8 but for a few, and how many are not; None for another encoding.

    The others are read as windows-1252, which lines from elsewhere are in. Half a character at the end is U+FFFD.
    """
    text = data.decode("utf-8", "surrogateescape")
    n_broken = sum("\udc80" <= character <= "\udcff" for character in text)
    n_good = sum(byte >= 0x80 for byte in data) - n_broken
    if n_good < _GOOD_PER_BROKEN * n_broken:
        return None
    whole = text.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
    mended = "".join(_as_cp1252(c) if "\udc80" <= c <= "\udcff" else c for c in whole)
    return mended + "\ufffd" * (len(text) > len(whole)), n_broken


def _as_cp1252(escaped: str) -> str:
    return escaped.encode("ascii", "surrogateescape").decode("cp1252", "replace")


def _is_turkish(data: bytes) -> bool:
    """Whether the bytes are windows-1254 by their letters: Turkish alone, with a dotless i or a dotted I."""
    if not any(byte in data for byte in _DOTS) or not _fits(data, "cp1254"):
        return False
    return {letter for letter in data.decode("cp1254") if letter >= "\x80" and letter.isalpha()} <= _TURKISH


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
