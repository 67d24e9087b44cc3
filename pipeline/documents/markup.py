"""LaTeX, reStructuredText, AsciiDoc and Org: their headings and tables found, the rest as it is, LaTeX's commands away.

The lines are those of the file. A formula stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.documents.markup_tables import Tables, adoc_tables, org_tables, rst_tables
from pipeline.documents.pipes import read_pipe_table
from pipeline.documents.tables import table_lines
from pipeline.documents.text import decode, readable_name
from pipeline.documents.writer import Writer
from pipeline.text.counting import listed
from pipeline.types import Document

Titles = dict[int, tuple[int, str, int]]
"""By line, counted from 0: the level of the heading that begins there, its title, and how many lines it takes."""

_RST_RULE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")
_ADOC = re.compile(r"(={1,6}|#{1,6})\s+(\S.*?)(?:\s+\1)?\s*$")
_ADOC_FENCE = re.compile(r"(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,})\s*$")
_ORG = re.compile(r"(\*+)\s+(?:(?:TODO|DONE)\s+)?(?:\[#[A-Z]\]\s+)?(\S.*?)(?:\s+:[\w@#%:]+:)?\s*$")
_ORG_NAME = re.compile(r"^#\+title:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_ORG_BLOCK = re.compile(r"\s*#\+(begin|end)_(\w+)", re.IGNORECASE)
_TEX_LEVELS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
_TEX_COMMENT = re.compile(r"(?<!\\)%.*")
_TEX_TITLE = re.compile(r"\\(part|chapter|(?:sub){0,2}section|paragraph)\*?\s*(?:\[[^\]]*\])?\{")
_TEX_DROPPED = re.compile(
    r"\\(?:documentclass|usepackage|label|bibliographystyle|bibliography|includegraphics|input|include|pagestyle|"
    r"thispagestyle|setlength|vspace|hspace|newcommand|renewcommand|begin|end)\*?(?:\[[^\]]*\])*(?:\{[^{}]*\})+"
)
_TEX_REFERENCE = re.compile(r"\\(?:[cC]?ref|eqref|autoref|pageref|cite[pt]?)\*?(?:\[[^\]]*\])*\{([^{}]*)\}")
_TEX_ARGUMENT = re.compile(r"\\[a-zA-Z]+\*?(?:\[[^\]]*\])?\{([^{}]*)\}")
_TEX_FOOTNOTE = re.compile(r"\\footnote(?:\[[^\]]*\])?\{([^{}]*)\}")
_TEX_INPUT = re.compile(r"\\(?:input|include)\{([^{}]*)\}")
_TEX_COMMAND = re.compile(r"\\(?:[a-zA-Z]+\*?\s?|\\(?:\[[^\]]*\])?)")
_TEX_MATH = re.compile(r"\$\$.*?\$\$|(?<!\\)\$[^$\n]*(?:\n[^$\n]+)*\$|\\\[.*?\\\]|\\\(.*?\\\)", re.DOTALL)
_TEX_BRACE = re.compile(r"(?<!\\)[{}]|\n[^\S\n]*\n")
_TEX_ACCENT = re.compile(r"\\([`'^\"~=.]|[cuvHkr](?=\{|\s))\s*\{?\\?([a-zA-Z])\}?")
_ACCENTS = dict(zip("`'^\"~=.cuvHkr", "\u0300\u0301\u0302\u0308\u0303\u0304\u0307\u0327\u0306\u030c\u030b\u0328\u030a",
                    strict=True))  # fmt: skip


def load_rst(path: Path, data: bytes) -> Document:
    """reStructuredText: the order in which the underlines appear gives the levels."""
    return _load(path, data, "rst", _rst_titles, rst_tables)


def load_adoc(path: Path, data: bytes) -> Document:
    """AsciiDoc: `= Title`, `== Section`."""
    return _load(path, data, "adoc", _adoc_titles, adoc_tables)


def load_org(path: Path, data: bytes) -> Document:
    """Org: `* Title`, `** Section`; keywords, priorities and tags are no part of one. `#+TITLE` is the title."""
    document = _load(path, data, "org", _org_titles, org_tables)
    named = _ORG_NAME.search(document.text)
    return replace(document, title=" ".join(named[1].split())) if named else document


def load_tex(path: Path, data: bytes) -> Document:
    """LaTeX without its preamble, comments and commands; formulas stay."""
    import unicodedata

    text, notes = decode(path, data)
    text = "\n".join(_TEX_COMMENT.sub("", line) for line in text.split("\n"))
    named = re.search(r"\\title\{([^{}]*)\}", text)
    start = text.find("\\begin{document}")
    end = text.find("\\end{document}")
    body = text[max(start, 0) : end if end > start else len(text)]
    line = text.count("\n", 0, max(start, 0)) + 1
    body = _TEX_ACCENT.sub(lambda m: unicodedata.normalize("NFC", m[2] + _ACCENTS[m[1]]), body)
    writer = Writer()
    if named:
        writer.heading(_tex_words(named[1]), 1, line=text.count("\n", 0, named.start()) + 1)
    offset = 0
    for title in _TEX_TITLE.finditer(body):
        if title.start() < offset:  # inside of another title
            continue
        _tex_paragraphs(writer, body[offset : title.start()], line + body.count("\n", 0, offset))
        end, offset = _closing(body, title.end())
        words = _tex_words(body[title.end() : end])
        writer.heading(words, _TEX_LEVELS[title[1]], line=line + body.count("\n", 0, title.start()))
    _tex_paragraphs(writer, body[offset:], line + body.count("\n", 0, offset))
    if parts := _TEX_INPUT.findall(body):
        notes = (*notes, f"made of other files, which are read if they are named: {listed(parts)}")
    return writer.document(path, "tex", _tex_words(named[1]) if named else readable_name(path), notes)


def _tex_paragraphs(writer: Writer, text: str, line: int) -> None:
    """Writes the text behind a heading, a block for each paragraph, each line with its place."""
    for part in re.finditer(r"(?:[^\n]|\n(?![^\S\n]*\n))+", text):
        words = _tex_words(part[0])
        if words.strip():
            writer.lined(words, line + text.count("\n", 0, part.start()))


def _tex_words(text: str) -> str:
    """Text without commands, on as many lines as before."""
    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formulas.append(match[0])
        return f"\0{len(formulas) - 1}\0"

    text = _TEX_MATH.sub(keep, text)
    text = re.sub(r"\\item(?:\[([^\]]*)\])?\s?", lambda m: f"- {m[1] + ': ' if m[1] else ''}", text)
    text = _TEX_REFERENCE.sub(r"[\1]", _TEX_DROPPED.sub("", text))
    text = re.sub(r"\\footnote\{", r"\\footnote{ (footnote: ", text) if "\\footnote" in text else text
    for _ in range(5):  # arguments inside arguments
        text = _TEX_FOOTNOTE.sub(r"\1)", text)
        text, n = _TEX_ARGUMENT.subn(r"\1", text)
        if not n:
            break
    text = re.sub(r"\\([&%$#_{}])", r"\1", text.replace("\\\\", " "))
    text = re.sub(r"[{}]", "", _TEX_COMMAND.sub("", text)).replace("~", " ").replace("``", "“").replace("''", "”")
    text = re.sub(r"(?<!-)---(?!-)", "—", text)
    text = re.sub(r"(?<!-)--(?!-)", "–", text)
    text = "\n".join(re.sub(r"[ \t]+", " ", row).strip() for row in text.split("\n"))
    return re.sub(r"\0(\d+)\0", lambda m: formulas[int(m[1])], text)


def _closing(text: str, start: int) -> tuple[int, int]:
    """[start, end) of the brace that closes the one before `start`. A paragraph's end closes it as well."""
    depth = 1
    for mark in _TEX_BRACE.finditer(text, start):
        if mark[0][0] == "\n":
            return mark.span()
        depth += 1 if mark[0] == "{" else -1
        if not depth:
            return mark.span()
    return len(text), len(text)


def _no_tables(lines: Sequence[str]) -> Tables:
    return {}


def _load(
    path: Path,
    data: bytes,
    kind: str,
    find: Callable[[Sequence[str]], Titles],
    find_tables: Callable[[Sequence[str]], Tables] = _no_tables,
) -> Document:
    text, notes = decode(path, data)
    lines = text.split("\n")
    tables = find_tables(lines)
    inside = {n for start, (n_lines, _) in tables.items() for n in range(start, start + n_lines)}
    titles = {n: title for n, title in find(lines).items() if n not in inside}
    writer = Writer()
    extents = {n: n_lines for n, (_, _, n_lines) in titles.items()} | {n: size for n, (size, _) in tables.items()}
    for start, end in _paragraphs(lines, extents):
        grid = tables[start][1] if start in tables else read_pipe_table(lines[start:end], start + 1)
        if start in titles:
            level, title, _ = titles[start]
            writer.heading(title, level, line=start + 1)
        elif grid:
            for row in table_lines(grid):
                writer.block(row.text, line=row.place, is_tight=True)
        else:
            writer.lined("\n".join(lines[start:end]), start + 1)
    title = writer.headings[0].title if writer.headings else readable_name(path)
    return writer.document(path, kind, title, notes)


def _paragraphs(lines: Sequence[str], extents: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """The lines of each heading or table, whose sizes are `extents`, and of each run of lines between blank ones."""
    start = n = 0
    while n < len(lines):
        if n in extents or not lines[n].strip():
            if start < n:
                yield start, n
            if n in extents:
                yield n, n + extents[n]
            n += extents.get(n, 1)
            start = n
        else:
            n += 1
    if start < n:
        yield start, n


def _rst_titles(lines: Sequence[str]) -> Titles:
    titles: Titles = {}
    levels: list[tuple[str, bool]] = []
    n = 0
    while n + 1 < len(lines):
        above = n + 2 < len(lines) and _is_rule(lines[n]) and _is_rule(lines[n + 2])
        title = lines[n + 1] if above else lines[n]
        rule = lines[n + 2] if above else lines[n + 1]
        is_title = (
            title.strip() and not _is_rule(title) and _is_rule(rule) and len(rule.rstrip()) >= len(title.rstrip())
        )
        if is_title and (above or not title[0].isspace()) and (above or n == 0 or not lines[n - 1].strip()):
            style = (rule[0], above)
            if style not in levels:
                levels.append(style)
            n_lines = 3 if above else 2
            titles[n] = (min(levels.index(style) + 1, 6), title.strip(), n_lines)
            n += n_lines
        else:
            n += 1
    return titles


def _is_rule(line: str) -> bool:
    return bool(_RST_RULE.match(line))


def _adoc_titles(lines: Sequence[str]) -> Titles:
    titles: Titles = {}
    fence = ""
    for n, line in enumerate(lines):
        mark = _ADOC_FENCE.match(line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif not fence and (title := _ADOC.match(line)):
            titles[n] = (len(title[1]), title[2], 1)
    return titles


def _org_titles(lines: Sequence[str]) -> Titles:
    titles: Titles = {}
    is_block = False
    for n, line in enumerate(lines):
        if block := _ORG_BLOCK.match(line):
            is_block = block[1].lower() == "begin"
        elif not is_block and (title := _ORG.match(line)):
            titles[n] = (min(len(title[1]), 6), title[2], 1)
    return titles
