"""Mail: EML and MBOX by the standard library, MSG by python-oxmsg. Headers first, then the text; attachments apart."""

from __future__ import annotations

import email
import email.policy
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from pipeline.documents import charsets
from pipeline.documents.properties import mail_date
from pipeline.documents.text import readable_name
from pipeline.documents.writer import Writer
from pipeline.errors import DocumentError, LongthreadError
from pipeline.text.counting import counted
from pipeline.types import Document

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_MBOX_START = re.compile(rb"^From [^\n]*\d{4}[^\n]*\n", re.MULTILINE)
_QUOTED_START = re.compile(rb"^>(>*From )", re.MULTILINE)


def load_eml(path: Path, data: bytes) -> Document:
    """One mail as its headers, which say from whom, to whom, when and about what, and its text."""
    message = _parse(data)
    writer = Writer()
    _write(path, writer, message)
    notes = _unread_attachments(path, sum(1 for _ in _attached(message)), ".eml")
    document = writer.document(path, "eml", _header(message, "Subject") or readable_name(path), notes)
    return replace(document, author=_header(message, "From"), date=mail_date(_header(message, "Date")))


def load_mbox(path: Path, data: bytes) -> Document:
    """The mails of a mailbox one after the other, each below its subject; the place is the mail's number."""
    writer = Writer()
    n_attached = 0
    for number, part in enumerate(_messages(data), 1):
        message = _parse(part)
        n_attached += sum(1 for _ in _attached(message))
        writer.heading(_header(message, "Subject") or f"Mail {number}", 1, f"mail {number}")
        _write(path, writer, message, f"mail {number}, ")
    return writer.document(path, "mbox", readable_name(path), _unread_attachments(path, n_attached, ".mbox"))


def _unread_attachments(path: Path, n: int, suffix: str) -> list[str]:
    """The note on attachments of a file whose name does not say that it holds mail: they are found by the name."""
    if not n or path.suffix.lower() in (".eml", ".mbox"):
        return []
    return [f"{counted(n, 'attachment')} not read: name the file {path.name}{suffix}"]


def load_msg(path: Path, data: bytes) -> Document:
    """A mail of Outlook. Raises DocumentError for a file that is broken."""
    with _outlook(path):
        message = _open_msg(path, data)
        headers = {name.lower(): value for name, value in (message.message_headers or {}).items()}
        recipients = "; ".join(f"{person.name} <{person.email_address}>" for person in message.recipients)
        shown = {
            "From": message.sender or headers.get("from", ""),
            "To": recipients or headers.get("to", ""),
            "Date": str(message.sent_date or headers.get("date", "")),
            "Subject": message.subject or "",
        }
        html = message.html_body or ""
        body = message.body or ""
    writer = Writer()
    writer.block("\n".join(f"{name}: {value}" for name, value in shown.items() if value), "headers")
    if body.strip() or not html:
        writer.block(body.replace("\r\n", "\n"), "text")
    else:
        _write_html(path, writer, html)
    document = writer.document(path, "msg", shown["Subject"] or readable_name(path))
    return replace(document, author=shown["From"], date=mail_date(shown["Date"]))


def attachments(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each attachment, pictures inside the text left out; in a mailbox below the mail's number."""
    suffix = path.suffix.lower()
    if suffix == ".msg":
        with _outlook(path):
            files = [(item.file_name, item.file_bytes) for item in _open_msg(path, data).attachments if _is_file(item)]
        for n, (name, content) in enumerate(files, 1):
            yield _file_name(name, n, "bin"), content
        return
    parts = _messages(data) if suffix == ".mbox" else [data]
    for number, part in enumerate(parts, 1):
        prefix = f"{number}/" if suffix == ".mbox" else ""
        for name, content in _attached(_parse(part)):
            yield prefix + name, content


def _parse(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)


def _messages(data: bytes) -> list[bytes]:
    starts = [match for match in _MBOX_START.finditer(data) if _begins_mail(data, match.start())]
    ends = [*(match.start() for match in starts[1:]), len(data)]
    mails = [data[start.end() : end] for start, end in zip(starts, ends, strict=False)]
    return [_QUOTED_START.sub(rb"\1", mail) for mail in mails] or [data]


def _begins_mail(data: bytes, start: int) -> bool:
    """Whether a line `From ...` stands at the top of the file or behind a blank line."""
    return start == 0 or data[max(start - 4, 0) : start].endswith((b"\n\n", b"\n\r\n"))


def _write(path: Path, writer: Writer, message: EmailMessage, prefix: str = "") -> None:
    """Writes one mail."""
    lines = [f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))]
    writer.block("\n".join(lines), f"{prefix}headers")
    body = _body(message)
    if body is not None:
        text = _text(body)
        if body.get_content_subtype() == "html":
            _write_html(path, writer, text, f"{prefix}text")
        else:
            writer.block(_flowed(body, text), f"{prefix}text")


def _body(message: EmailMessage) -> EmailMessage | None:
    try:
        body = message.get_body(("plain", "html"))
    except (KeyError, AttributeError, ValueError):  # a broken structure: the first part with text
        body = None
    if body is None:
        texts = (part for part in message.walk() if part.get_content_maintype() == "text")
        body = next((part for part in texts if isinstance(part, EmailMessage)), None)
    return cast("EmailMessage | None", body)


def _text(part: EmailMessage) -> str:
    """A part's text in the charset that it names, as a browser understands the name."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    encoding = charsets.by_label(part.get_content_charset() or "")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        labelled = charsets.decode_labelled(data, encoding) if encoding else None
        text = labelled[0] if labelled else data.decode(charsets.guess(data) or "latin-1", "replace")
    else:
        if encoding and encoding.startswith(("iso2022", "utf-7")):
            text = data.decode(encoding, "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _flowed(part: EmailMessage, text: str) -> str:
    """The text with the lines joined that `format=flowed` broke (RFC 3676)."""
    if part.get_param("format", "") != "flowed":
        return text
    return re.sub(r"(?<!^--) \n(?!>|\n)", " ", text, flags=re.MULTILINE)


def _write_html(path: Path, writer: Writer, source: str, label: str = "text") -> None:
    from pipeline.documents.formats import FORMATS

    FORMATS["html"].open(path)
    from pipeline.documents.html import parse, render

    blocks, _ = render(parse(path, source))
    for block in blocks:
        writer.block(block.mark + block.text if block.mark != "```" else block.text, label, is_tight=block.is_tight)


def _attached(message: EmailMessage) -> Iterator[tuple[str, bytes]]:
    names: set[str] = set()
    for n, part in enumerate(_beside_text(message), 1):
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload(0) if part.is_multipart() else None
            content = inner.as_bytes() if isinstance(inner, EmailMessage) else b""
            name = _file_name(part.get_filename(), n, "eml")
            name = name if name.lower().endswith(".eml") else f"{name}.eml"
        else:
            payload = part.get_payload(decode=True)
            content = payload if isinstance(payload, bytes) else b""
            name = _file_name(part.get_filename(), n, part.get_content_subtype())
        if content:
            yield (name if name not in names else f"{n}-{name}"), content
            names.add(name)


def _beside_text(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that are neither the text nor another form of it, wherever they stand.

    Some programs put attachments between the paragraphs of one form. Those of a mail inside the mail are that
    mail's.
    """
    if not message.is_multipart():
        return
    body = _body(message)

    def look(part: EmailMessage, is_alternative: bool) -> Iterator[EmailMessage]:
        if part.get_content_maintype() == "multipart":
            is_alternative = is_alternative or part.get_content_subtype() == "alternative"
            for inner in part.iter_parts():
                yield from look(cast("EmailMessage", inner), is_alternative)
            return
        is_form = is_alternative and part.get_content_type() in ("text/plain", "text/html") and not part.get_filename()
        is_inside = part.get_content_maintype() == "image" and part.get("Content-ID")  # a picture in the text
        if part.is_attachment() or not (part is body or is_form or is_inside):
            yield part

    yield from look(message, False)


def _file_name(name: str | None, number: int, subtype: str) -> str:
    """The attachment's name without the parts of a path; `attachment-1.pdf` for one without a name."""
    bare = re.split(r"[/\\]", name or "")[-1].replace("\0", "").strip().lstrip(".")
    return bare or f"attachment-{number}.{ {'plain': 'txt'}.get(subtype, subtype) }".replace(" ", "")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message[name] or "").split())
    except (ValueError, IndexError, AttributeError, TypeError):  # the standard library's parser of broken headers
        return ""


def _open_msg(path: Path, data: bytes) -> Any:
    from pipeline.documents.formats import FORMATS

    FORMATS["msg"].open(path)
    from oxmsg import Message

    return Message.load(io.BytesIO(data))


def _is_file(attachment: Any) -> bool:
    return bool(attachment.attached_by_value and attachment.file_bytes)


@contextmanager
def _outlook(path: Path) -> Iterator[None]:
    """Converts errors of python-oxmsg, which reads properties when they are first asked for."""
    try:
        yield
    except LongthreadError:
        raise
    except Exception as error:
        # python-oxmsg raises what olefile, struct or a dictionary raises: any of them means a broken file.
        raise DocumentError(f"{path}: a broken mail of Outlook ({error}): save it again as EML") from None
