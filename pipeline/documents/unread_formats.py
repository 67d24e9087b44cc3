"""The table of formats that no reader reads: what such a file is, and how its owner makes it readable."""

from __future__ import annotations

from pathlib import Path

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of a compound file: Office before 2007, Office with a password, and mails of Outlook."""
_OLD_OFFICE = {  # the name of a stream that only this format has, in UTF-16
    "__properties_version1.0": "",  # a mail of Outlook, which is read
    "EncryptedPackage": "Office file with a password: save it without one",
    "WordDocument": "document of Word 97: save it as DOCX",
    "Workbook": "spreadsheet of Excel 97: save it as XLSX",
    "PowerPoint Document": "presentation of PowerPoint 97: save it as PPTX",
}
_OLD = "old Office file, or one with a password: save it as DOCX, XLSX or PPTX without a password"
_AUDIO = "recording: make a transcript of it (whisper), as VTT or text"
_UNREAD = {
    ".doc .dot": "document of Word 97: save it as DOCX",
    ".xls .xlt": "spreadsheet of Excel 97: save it as XLSX",
    ".xlsb": "binary spreadsheet of Excel: save it as XLSX",
    ".ppt .pps": "presentation of PowerPoint 97: save it as PPTX",
    ".pages": "document of Apple Pages: export it as DOCX or PDF",
    ".numbers": "spreadsheet of Apple Numbers: export it as XLSX",
    ".key": "presentation of Apple Keynote: export it as PPTX or PDF",
    ".wpd .wps": "document of an old word processor: open it in LibreOffice and save it as ODT",
    ".mobi .azw .azw3": "e-book for Kindle: convert it to EPUB (ebook-convert)",
    ".djvu": "scan in DjVu: convert it to PDF (ddjvu -format=pdf)",
    ".ps .eps": "PostScript file: convert it to PDF (ps2pdf)",
    ".pst .ost": "mailbox of Outlook: export it as MBOX (readpst)",
    ".one": "notebook of OneNote: export it as PDF or DOCX",
    ".vsdx .vsd": "drawing of Visio: export it as PDF",
    ".mdb .accdb .sqlite .sqlite3 .db": "database: export its tables as CSV",
    ".parquet .feather .arrow .avro .orc .h5 .hdf5 .npy .npz .pkl .rds .mat .sav .dta": ("data file: export it as CSV"),
    ".7z .rar": "archive of an unread kind: unpack it",
    ".gz .bz2 .xz .zst .lz4": "compressed file: unpack it",
    ".mp3 .wav .m4a .flac .ogg .opus .aac .wma": _AUDIO,
    ".mp4 .mkv .mov .avi .webm .wmv .m4v .mpg .mpeg": _AUDIO.replace("recording", "video"),
    ".heic .heif .avif .psd .ico .raw .cr2 .nef": "picture of an unread kind: save it as PNG or JPEG",
    ".gguf .safetensors .onnx .pt .pth": "model's weights",
    ".ttf .otf .woff .woff2": "font",
    ".exe .dll .so .dylib .bin .o .a .class .jar .pyc .wasm .apk .dmg .iso .img .msi": "program",
}
_WHY_UNREAD = {suffix: why for suffixes, why in _UNREAD.items() for suffix in suffixes.split()}


def unread_kind(path: Path, head: bytes) -> str:
    """What a file is that no reader reads, and what helps: `spreadsheet of Excel 97: save it as XLSX`, or ""."""
    by_suffix = unread_by_suffix(path)
    if not head.startswith(OLE):
        return by_suffix
    # The names of its streams may lie beyond the head of a large file: then the suffix says more.
    why = next((why for stream, why in _OLD_OFFICE.items() if stream.encode("utf-16-le") in head), _OLD)
    if why == _OLD:
        return "" if path.suffix.lower() == ".msg" else by_suffix or why
    return why


def unread_by_suffix(path: Path) -> str:
    """Like `unread_kind`, by the file's name alone."""
    return _WHY_UNREAD.get(path.suffix.lower(), "")
