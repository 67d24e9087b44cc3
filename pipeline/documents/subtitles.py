"""Subtitles and transcripts, WebVTT and SubRip: what is said, with the time at which it is said."""

from __future__ import annotations

import html
import re
from pathlib import Path

from pipeline.documents.text import decode, load_text, readable_name
from pipeline.documents.writer import Writer
from pipeline.types import Document

_TIMING = re.compile(r"\s*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{3})\s*-->\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{3}")
_SPEAKER = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?[A-Za-z0-9:.][^>]*>|\{\\[^}]*\}")
_ENDS = re.compile(r"[.!?…。！？][\"'”’»)]*$")
_PARAGRAPH_CHARS = 600


def load_subtitles(path: Path, data: bytes) -> Document:
    """The cues, those of one sentence joined to a line; a speaker stands before what is said.

    The places are the lines of the file and, as labels, the times: `00:01:04`. A file without cues is read as text.
    """
    text, notes = decode(path, data)
    cues = _cues(text)
    if not cues:
        return load_text(path, data)
    writer = Writer()
    marks: list[tuple[int, str, int]] = []  # (offset in the paragraph, time, line) of each cue in it
    paragraph, speaker = "", ""
    for time, line, words, who in [*cues, ("", 0, "", None)]:
        is_new = who is None or (who and who != speaker) or len(paragraph) > _PARAGRAPH_CHARS
        if paragraph and (is_new or _ENDS.search(paragraph)):
            _write(writer, paragraph, marks)
            paragraph, marks = "", []
        if who is None:
            break
        opening = f"{who}: " if who and not paragraph else ""
        paragraph += (" " if paragraph else "") + opening
        marks.append((len(paragraph) - len(opening), time, line))
        paragraph += words
        speaker = who or speaker
    return writer.document(path, "vtt", readable_name(path), notes)


def _write(writer: Writer, paragraph: str, marks: list[tuple[int, str, int]]) -> None:
    writer.block(paragraph, marks[0][1], marks[0][2], is_tight=True)
    start = writer.length - len(paragraph)
    for offset, time, line in marks[1:]:
        writer.labels.append((start + offset, time))
        writer.lines.append((start + offset, line))


def _cues(text: str) -> list[tuple[str, int, str, str | None]]:
    """(time, line, text, speaker) of each cue that says something; what it repeats of the one before is left out."""
    cues: list[tuple[str, int, str, str | None]] = []
    lines = text.split("\n")
    n = 0
    shown: list[str] = []
    while n < len(lines):
        timing = _TIMING.match(lines[n])
        n += 1
        if not timing:
            continue
        first, words = n, []
        while n < len(lines) and lines[n].strip() and not _TIMING.match(lines[n]):
            words.append(lines[n])
            n += 1
        speaker = _SPEAKER.search(" ".join(words))
        spoken = [" ".join(html.unescape(_TAG.sub("", line)).split()) for line in words]
        fresh = [line for line in spoken if line and line not in shown]  # rolling captions show a line twice
        shown = spoken
        if fresh:
            cues.append((_time(timing[1]), first, " ".join(fresh), speaker[1].strip() if speaker else ""))
    return cues


def _time(written: str) -> str:
    """`00:01:04` of `1:04.250`."""
    parts = re.split(r"[.,]", written)[0].split(":")
    return ":".join(part.zfill(2) for part in ["00"] * (3 - len(parts)) + parts)
