"""A writer of small mails of Outlook (MS-OXMSG inside MS-CFB), so that the tests hold no binary files."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

_SECTOR, _MINI_SECTOR, _CUTOFF = 512, 64, 4096
_FREE, _END, _FAT, _NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
_STRING, _BINARY, _INTEGER, _TIME = 0x1F, 0x102, 0x3, 0x40
Value = str | bytes | int | datetime
Tree = Mapping[str, "bytes | Tree"]
SUBJECT, SUBMIT_TIME, SENDER, SENDER_ADDRESS, BODY, HTML = 0x37, 0x39, 0xC1A, 0xC1F, 0x1000, 0x1013
NAME, ADDRESS, DATA, METHOD, FILE_NAME = 0x3001, 0x3003, 0x3701, 0x3705, 0x3707


def msg(
    about: Mapping[int, Value], recipients: Sequence[tuple[str, str]] = (), attached: Mapping[str, bytes] | None = None
) -> bytes:
    """A mail with these properties (by PidTag), recipients (name, address) and attachments by name."""
    tree: dict[str, bytes | Tree] = dict(_storage(about, 32))
    for n, (name, address) in enumerate(recipients):
        tree[f"__recip_version1.0_#{n:08X}"] = _storage({NAME: name, ADDRESS: address}, 8)
    for n, (name, data) in enumerate((attached or {}).items()):
        tree[f"__attach_version1.0_#{n:08X}"] = _storage({DATA: data, METHOD: 1, FILE_NAME: name}, 8)
    return compound_file(tree)


def _storage(values: Mapping[int, Value], header_size: int) -> dict[str, bytes]:
    streams: dict[str, bytes] = {}
    rows = b""
    for tag, value in values.items():
        if isinstance(value, int):
            kind, content = _INTEGER, struct.pack("<Ii", value, 0)
        elif isinstance(value, datetime):
            kind, content = (
                _TIME,
                struct.pack("<Q", int((value - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10**7),
            )
        else:
            kind, data = (_STRING, value.encode("utf-16-le")) if isinstance(value, str) else (_BINARY, value)
            streams[f"__substg1.0_{tag:04X}{kind:04X}"] = data
            content = struct.pack("<II", len(data) + (2 if kind == _STRING else 0), 0)
        rows += struct.pack("<HHI", kind, tag, 6) + content
    return {"__properties_version1.0": bytes(header_size) + rows, **streams}


@dataclass
class _Entry:
    name: str
    kind: int  # 1 a storage, 2 a stream, 5 the root
    data: bytes = b""
    children: list[int] = field(default_factory=list)


def compound_file(tree: Tree) -> bytes:
    """A compound file of version 3. Siblings hang in a list, each the right one of the one before."""
    entries = [_Entry("Root Entry", 5)]

    def add(parent: int, inner: Tree) -> None:
        for name, value in sorted(inner.items(), key=lambda item: (len(item[0]), item[0].upper())):
            entries.append(_Entry(name, 2, value) if isinstance(value, bytes) else _Entry(name, 1))
            number = len(entries) - 1
            entries[parent].children.append(number)
            if not isinstance(value, bytes):
                add(number, value)

    add(0, tree)
    fat: list[int] = []
    sectors: list[bytes] = []

    def store(data: bytes) -> int:
        """Appends sectors; the number of the first."""
        if not data:
            return _END
        first, n = len(sectors), -(-len(data) // _SECTOR)
        sectors.extend(data[k * _SECTOR : (k + 1) * _SECTOR].ljust(_SECTOR, b"\0") for k in range(n))
        fat.extend([*range(first + 1, first + n), _END])
        return first

    mini, mini_fat, starts = b"", list[int](), [_END] * len(entries)
    for number, entry in enumerate(entries):
        if entry.kind != 2 or not entry.data:
            continue
        if len(entry.data) >= _CUTOFF:
            starts[number] = store(entry.data)
            continue
        starts[number], n = len(mini) // _MINI_SECTOR, -(-len(entry.data) // _MINI_SECTOR)
        mini_fat.extend([*range(starts[number] + 1, starts[number] + n), _END])
        mini += entry.data.ljust(n * _MINI_SECTOR, b"\0")
    starts[0], entries[0].data = store(mini), mini
    packed = struct.pack(f"<{len(mini_fat)}I", *mini_fat)
    first_mini_fat = store(packed + b"\xff" * (-len(packed) % _SECTOR))
    following = {a: b for entry in entries for a, b in zip(entry.children, entry.children[1:], strict=False)}
    directory = b""
    for number, entry in enumerate(entries):
        name = (entry.name + "\0").encode("utf-16-le")
        child = entry.children[0] if entry.children else _NONE
        directory += name.ljust(64, b"\0") + struct.pack("<HBB", len(name), entry.kind, 1)
        directory += struct.pack("<III", _NONE, following.get(number, _NONE), child) + bytes(36)
        directory += struct.pack("<IQ", starts[number] if entry.kind != 1 else 0, len(entry.data))
    unused = struct.pack("<64xHBBIII36xIQ", 0, 0, 0, _NONE, _NONE, _NONE, 0, 0)
    first_directory = store(directory + unused * (-len(entries) % 4))
    n_fat = 1
    while (len(sectors) + n_fat) * 4 > n_fat * _SECTOR:
        n_fat += 1
    first_fat = len(sectors)
    table = [*fat, *[_FAT] * n_fat]
    table += [_FREE] * (n_fat * _SECTOR // 4 - len(table))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, n_fat, first_directory, 0, _CUTOFF, first_mini_fat,
                          -(-len(packed) // _SECTOR), _END, 0)  # fmt: skip
    places = [*range(first_fat, first_fat + n_fat)]
    header += struct.pack("<109I", *places, *[_FREE] * (109 - n_fat))
    return header + b"".join(sectors) + struct.pack(f"<{len(table)}I", *table)
