"""docs/library.py runs as it stands, and gives the right answers."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_script_of_the_page_on_python_answers_right(own_cache: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "docs/library.py", "configs/demo/documents", str(tmp_path / "output")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "7" in lines[0] or "seven" in lines[0]
    assert any("garden.html line 8 The garden has seven beehives" in line for line in lines)
    assert any(line.startswith("clock ok") and "Lucia Ferrand" in line for line in lines)
    assert "['The garden has seven beehives.']" in lines
    assert "text 1 0 30 The garden has seven beehives." in lines
    assert ["Lucia Ferrand" in line for line in lines[-2:]] == [True, True]


def test_the_page_and_the_script_use_the_same_names() -> None:
    page, script = (ROOT / "docs" / "library.md").read_text(), (ROOT / "docs" / "library.py").read_text()
    names = "lt.ask( lt.Pipeline( p.stream( p.run( lt.evaluate( lt.compress( ).compress( with_retriever("
    for name in names.split():
        assert name in page, name
        assert name in script, name
