"""What the layout promises: imports point inwards, each foreign library has one home, `--help` loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.cache import CACHE_LAYOUT

ROOT = Path(__file__).parent.parent
PACKAGES = ("longthread", "pipeline", "compressors", "memory", "cli")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = (
    "torch",
    "chromadb",
    "ray",
    "llama_cpp",
    "sentence_transformers",
    "transformers",
    "sklearn",
    "bm25s",
    "langchain_core",
)
HOMES = {
    "llama_cpp": ("pipeline/models/",),
    "chromadb": ("pipeline/retrieval/",),
    "sentence_transformers": ("pipeline/retrieval/embedder.py",),
    "langchain_core": ("pipeline/langchain/",),
    "langchain_text_splitters": ("pipeline/documents/",),
    "huggingface_hub": ("pipeline/gguf/hub.py",),
    "ray": ("pipeline/executors/on_ray/",),
    "filelock": ("pipeline/storage/locks.py",),
}
LEAVES = (
    "pipeline.document", "pipeline.types", "pipeline.errors", "pipeline.yaml", "pipeline.storage.cache",
    "pipeline.storage.whole",
)  # fmt: skip


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it the import stands, type checking apart."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_inwards(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    ours = {module for module in imports(path) if module.split(".")[0] in PACKAGES}
    top = name.split("/")[0]
    if top == "compressors":
        assert not [m for m in ours if m.split(".")[0] in ("memory", "cli") or m == "pipeline.pipeline"], name
    if top == "memory":
        assert not [m for m in ours if m.split(".")[0] in ("compressors", "cli") or m == "pipeline.pipeline"], name
    if top == "pipeline":
        assert not [m for m in ours if m.split(".")[0] in ("longthread", "cli", "compressors", "memory")], name
    if top == "longthread":
        assert not [m for m in ours if m.split(".")[0] == "cli"], name
    if name.removesuffix(".py").replace("/", ".") in LEAVES:
        strangers = ours - {"pipeline.document"}
        assert not strangers, f"{name} is a leaf, but imports {strangers}"


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_foreign_library_has_one_home(library: str) -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for path in FILES
        if any(module.split(".")[0] == library for module in imports(path))
        and not str(path.relative_to(ROOT)).startswith(HOMES[library])
    ]
    assert strangers == []


def test_reading_a_type_imports_nothing() -> None:
    assert (ROOT / "pipeline" / "__init__.py").read_text() == ""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["check", "configs/default.yaml"], ["show", "configs/default.yaml"], ["schema"], ["steps"]],
    ids=str,
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from cli.main import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def calls(path: Path) -> set[str]:
    """What a file calls, as it is written there: `sys.stdout.write`, `Console`, `print`."""
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", sorted((ROOT / "cli").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_print_through_one_file(path: Path) -> None:
    """Who prints beside cli/output.py prints what a document holds as it is."""
    if path.name != "output.py":
        direct = {name for name in calls(path) if name in ("print", "Console", "open") or name.startswith("sys.std")}
        assert direct <= {"sys.stdin.isatty", "sys.stdout.isatty", "sys.stdin.buffer.read"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_folder_of_the_cache_is_in_its_table(path: Path) -> None:
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    parts = [
        node.right
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and ast.unparse(node.left) == "cache_folder()"
    ]
    names = {part.value for part in parts if isinstance(part, ast.Constant)}
    names |= {constants[part.id] for part in parts if isinstance(part, ast.Name) and part.id in constants}
    assert names <= set(CACHE_LAYOUT)


WRITERS = {
    "pipeline/storage/whole.py": {"temporary.write_bytes", "os.replace"},
    "pipeline/gguf/hub.py": {"os.replace"},  # a download, which goes on where it was interrupted
    "pipeline/evaluation/memory.py": {"_RESET.write_text"},  # in /proc
    "pipeline/evaluation/corpus.py": {"path.write_bytes"},  # they count once the last is there
    "memory/hierarchical/vectors.py": {"(Path(temporary) / 'ids').write_text"},  # in a temporary folder
    "pipeline/storage/cell_files.py": {"os.replace"},  # large, and written by several processes at once
    "pipeline/models/piece_store.py": {"os.replace"},  # unless its text was forgotten meanwhile
    "pipeline/storage/locks.py": {"part.write_text"},  # a note for whoever waits, once a second
    "compressors/soft/weights.py": {"temporary.write_bytes"},  # inside new_file
    "compressors/soft/store.py": {"temporary.write_bytes"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_written_by_one_helper(path: Path) -> None:
    """Who writes a file in place leaves half of one when it is killed."""
    direct = {name for name in calls(path) if name.endswith((".write_text", ".write_bytes")) or name == "os.replace"}
    assert direct == WRITERS.get(str(path.relative_to(ROOT)), set())
