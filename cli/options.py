"""Options that several commands take, each with one name and one help text."""

from __future__ import annotations

from typing import Annotated

import typer

Config = Annotated[
    str | None,
    typer.Option("--config", "-c", help="A pipeline file or a preset's name (default: the built-in pipeline)."),
]
Docs = Annotated[list[str] | None, typer.Option("--docs", "-d", help="Files, folders or globs to answer from.")]
IndexFolder = Annotated[str | None, typer.Option("--index", "-i", help="A folder with an index made before.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead, with the whole ledger.")]
Account = Annotated[
    bool, typer.Option("--account", help="Show each stage, the prompt by part, and what was left out and why.")
]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help="Only documents that match, by what is known of them: 'kind=pdf and year>=2024'."),
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Keep the index current while documents are added, changed, renamed or removed.")
]
AnswerAlone = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer and its citations alone.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")]
