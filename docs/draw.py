"""Makes docs/ask.svg from a real run: `make picture`. Needs no network, and no font but the reader's own."""

from __future__ import annotations

import io
import os
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.printing import print_state
from cli.progress import Display
from cli.show import write_svg
from pipeline.default import default_pipeline
from pipeline.docs_index import docs_folder, update_index
from pipeline.listener import Listener
from pipeline.offline import switch_off_telemetry
from pipeline.pipeline import Pipeline
from pipeline.types import Question

ROOT = Path(__file__).parent.parent
DOCUMENTS = "configs/demo/documents"
QUESTION = "How many beehives does the Orla garden have?"
COMMAND = f'longthread ask "{QUESTION}" {DOCUMENTS}'


def main() -> None:
    os.chdir(ROOT)
    switch_off_telemetry()
    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    folder = docs_folder([DOCUMENTS], default_pipeline().index)
    with Display() as display:
        update_index(folder, [DOCUMENTS], default_pipeline().index, display)
        with Pipeline(default_pipeline(), folder, Listener(display)) as pipeline:
            state = pipeline.ask(Question(QUESTION))
    console.print(Text(f"$ {COMMAND}", style="dim"))
    print_state(state, console)
    write_svg(console, "docs/ask.svg", "longthread ask")


if __name__ == "__main__":
    main()
