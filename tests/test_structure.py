"""What the layout promises: imports point inwards, each foreign library has one home, `--help` loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
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
LAYERS = (
    ("pipeline.errors", "pipeline.document", "pipeline.contracts", "pipeline.yaml", "pipeline.presets",
     "pipeline.offline", "pipeline.text"),
    ("pipeline.settings",),
    ("pipeline.registry",),
    ("pipeline.types", "pipeline.checks", "pipeline.listener", "pipeline.storage"),
    ("pipeline.config", "pipeline.user"),
    ("pipeline.gguf", "pipeline.records", "pipeline.reference"),
    ("pipeline.models", "pipeline.schema"),
    ("pipeline.documents", "pipeline.resources"),
    ("pipeline.retrieval",),
    ("pipeline.answers", "pipeline.cached_indexes", "pipeline.doctor"),
    ("pipeline.stages", "pipeline.default", "pipeline.pipeline_yaml"),
    ("pipeline.pipeline",),
    ("pipeline.alone", "pipeline.executors", "pipeline.docs_index", "pipeline.last_prompt", "pipeline.streaming"),
    ("pipeline.conversation", "pipeline.evaluation.data", "pipeline.extraction", "pipeline.watching",
     "pipeline.langchain"),
    ("compressors", "memory", "pipeline.evaluation", "pipeline.document_names", "pipeline.reading_ahead",
     "pipeline.summarise", "pipeline.watch_process"),
    ("pipeline.evaluation.needles", "longthread"),
    ("cli",),
)  # fmt: skip
"""The rooms: a folder, or a file at the top of pipeline/. A room imports from lower layers only, not from its own.

Imports for type checking do not count: pipeline.contracts names types of many rooms.
"""
WHEN_MEASURING = {"pipeline.gguf": {"pipeline.models"}}
"""Imports of a higher layer inside functions: tuning and requantising a file start the engine."""
LAYER_OF = {room: n for n, layer in enumerate(LAYERS) for room in layer}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[set[str], set[str]]:
    """The modules that a file imports when it is loaded, and those that it imports inside functions."""
    return imports_of(tree_of(path))


def imports_of(tree: ast.AST) -> tuple[set[str], set[str]]:
    """What is imported when a file is loaded, and what inside functions."""
    at_top: set[str] = set()
    inside: set[str] = set()

    def visit(node: ast.AST, names: set[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                names |= {alias.name for alias in child.names}
            elif isinstance(child, ast.ImportFrom) and child.module:
                names |= {child.module, *(f"{child.module}.{alias.name}" for alias in child.names)}
            visit(child, inside if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else names)

    visit(tree, at_top)
    return at_top, inside


def room_of(module: str) -> str | None:
    """The room that a module or a name in it belongs to; None for a foreign module and for `pipeline` itself."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in LAYER_OF), None)


def wrong_imports(module: str, at_top: set[str], inside: set[str]) -> list[str]:
    """The imports of a module that the layers forbid."""
    room = room_of(module)
    assert room is not None, f"{module} is in no room: name it in LAYERS"
    wrong = []
    for name in sorted(at_top | inside):
        other = room_of(name)
        is_late = name not in at_top and other in WHEN_MEASURING.get(room, ())
        if other is not None and other != room and LAYER_OF[other] >= LAYER_OF[room] and not is_late:
            wrong.append(f"{module} ({room}) imports {name} ({other})")
    return wrong


def test_rooms_import_from_lower_layers() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    del modules["pipeline"]
    assert [wrong for module, path in modules.items() for wrong in wrong_imports(module, *imports(path))] == []


def test_every_room_is_there_once() -> None:
    rooms = [room for layer in LAYERS for room in layer]
    assert len(set(rooms)) == len(rooms)
    folders = [ROOT / room.replace(".", "/") for room in rooms]
    assert [str(folder) for folder in folders if not folder.is_dir() and not folder.with_suffix(".py").is_file()] == []


@pytest.mark.parametrize(
    ("module", "source", "is_right"),
    [
        ("compressors.exit", "from memory.window import Window", False),
        ("memory.window", "import compressors.exit", False),
        ("compressors.exit", "from pipeline.models.engine import Engine", True),
        ("pipeline.models.engine", "from pipeline.pipeline import Pipeline", False),
        ("pipeline.models.engine", "def f():\n    from pipeline.retrieval import index", False),
        ("pipeline.models.engine", "if TYPE_CHECKING:\n    from pipeline.retrieval import index", True),
        ("pipeline.retrieval.index", "from pipeline import default", False),
        ("pipeline.gguf.tune", "def f():\n    from pipeline.models import trial", True),
        ("pipeline.gguf.tune", "from pipeline.models import trial", False),
        ("pipeline.evaluation.data.squad", "from pipeline.evaluation import metrics", False),
        ("pipeline.evaluation.metrics", "from pipeline.evaluation.data import squad", True),
        ("pipeline.evaluation.metrics", "from cli import main", False),
    ],
)
def test_the_rule_of_the_layers(module: str, source: str, is_right: bool) -> None:
    assert (wrong_imports(module, *imports_of(ast.parse(source))) == []) is is_right


def test_no_module_takes_a_private_name_of_another() -> None:
    taken = [
        f"{path.relative_to(ROOT)}: {node.module}.{alias.name}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert taken == []


SETTING_CHECKS = ("SettingError", "at_least", "in_range", "one_of")


def named_settings(tree: ast.AST, inside: ast.ClassDef | None = None) -> Iterator[tuple[str, ast.ClassDef | None]]:
    """The settings that errors in a module name literally, each with the class around."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(field)), *_]) if name in SETTING_CHECKS:
                yield field.rpartition(".")[2], inside
        yield from named_settings(node, node if isinstance(node, ast.ClassDef) else inside)


def fields_of(cls: ast.ClassDef) -> set[str]:
    targets = [node.target for node in cls.body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_a_setting_error_names_a_setting() -> None:
    """A check in a class names a field of this class, one elsewhere a field that some component has."""
    trees = {path: tree_of(path) for path in FILES if path.name not in ("errors.py", "checks.py")}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    settings = {field for cls in classes if ":param " in (ast.get_docstring(cls) or "") for field in fields_of(cls)}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in trees.items()
        for name, cls in named_settings(tree)
        if name not in (settings if cls is None else fields_of(cls))
    ]
    assert wrong == []
    assert sum(1 for tree in trees.values() for _ in named_settings(tree)) > 60


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_foreign_library_has_one_home(library: str) -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for path in FILES
        if any(module.split(".")[0] == library for module in set().union(*imports(path)))
        and not str(path.relative_to(ROOT)).startswith(HOMES[library])
    ]
    assert strangers == []


def test_reading_a_type_imports_nothing() -> None:
    assert (ROOT / "pipeline" / "__init__.py").read_text() == ""


LIGHT = (("--help",), ("check", "configs/default.yaml"), ("show", "configs/default.yaml"), ("schema",), ("steps",))


def test_light_commands_import_nothing_heavy() -> None:
    """One process runs them all; the first that imports something heavy is named."""
    code = (
        "import sys\n"
        "from cli.main import app\n"
        f"for arguments in {LIGHT!r}:\n"
        "    try:\n        app(list(arguments))\n"
        "    except SystemExit as stop:\n        assert not stop.code, (arguments, stop.code)\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    assert not heavy, (arguments, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def calls(path: Path) -> set[str]:
    """What a file calls, as it is written there: `sys.stdout.write`, `Console`, `print`."""
    return {ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)}


def test_commands_print_through_one_file() -> None:
    """Who prints beside cli/output.py prints what a document holds as it is."""
    allowed = {"sys.stdin.isatty", "sys.stdout.isatty", "sys.stdin.buffer.read"}
    direct = {
        (str(path.relative_to(ROOT)), name)
        for path in sorted((ROOT / "cli").rglob("*.py"))
        if path.name != "output.py"
        for name in calls(path) - allowed
        if name in ("print", "Console", "open") or name.startswith("sys.std")
    }
    assert direct == {("cli/__init__.py", "sys.stderr.write")}  # a fixed line, before anything else is imported


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_every_folder_of_the_cache_is_in_its_table() -> None:
    named = {(str(path.relative_to(ROOT)), name) for path in FILES for name in cache_folders(tree_of(path))}
    assert {(path, name) for path, name in named if name not in CACHE_LAYOUT} == set()
    assert {name for _, name in named} == set(CACHE_LAYOUT)


def cache_folders(tree: ast.Module) -> set[object]:
    """The names behind `cache_folder() /` in a file: strings, or constants of the file."""
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
        if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Call) and name_of(node.left) == "cache_folder"
    ]
    names = {part.value for part in parts if isinstance(part, ast.Constant)}
    return names | {constants[part.id] for part in parts if isinstance(part, ast.Name) and part.id in constants}


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


def test_files_are_written_by_one_helper() -> None:
    """Who writes a file in place leaves half of one when it is killed."""
    direct = {str(path.relative_to(ROOT)): {name for name in calls(path) if is_writing(name)} for path in FILES}
    assert {path: names for path, names in direct.items() if names} == WRITERS


def is_writing(name: str) -> bool:
    return name.endswith((".write_text", ".write_bytes")) or name == "os.replace"
