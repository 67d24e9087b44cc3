"""How the code reads, in figures: python docs/figures.py prints one JSON line.

dialect_per_1000: variables and parameters named by a word that says nothing of what they hold (DIALECT), each time that
one is written, in 1000 lines of the product. any_per_1000: the same of `Any` in pipeline/. most_parameters: of a
function outside dataclasses. long_files: files of the product of more than 450 lines. cycles: groups of modules that
import one another, type checking and imports inside functions apart. comments_per_100: comment lines in 100 lines of
code, of the files that are hardest to read.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCT = ("longthread", "pipeline", "compressors", "memory", "cli")
DIALECT = frozenset({"found", "one", "told", "said", "own", "asked", "most", "at"})
DENSE = (
    "pipeline/models/engine.py",
    "pipeline/models/batching.py",
    "pipeline/models/scoring.py",
    "pipeline/executors/on_ray/driver.py",
    "pipeline/documents/html.py",
)
MAX_LINES = 450


def figures() -> dict[str, object]:
    """The figures of this checkout."""
    files = sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    n_lines = {name: text.count("\n") for name, text in texts.items()}
    in_pipeline = [name for name in texts if name.startswith("pipeline/")]
    n_any = sum(_n_names(trees[name], frozenset({"Any"})) for name in in_pipeline)
    parameters = [(n, f"{name}:{line}") for name, tree in trees.items() for n, line in _parameters(tree)]
    return {
        "lines": sum(n_lines.values()),
        "dialect_per_1000": _per(1000, sum(_n_names(tree, DIALECT) for tree in trees.values()), sum(n_lines.values())),
        "any_per_1000": _per(1000, n_any, sum(n_lines[name] for name in in_pipeline)),
        "most_parameters": max(parameters),
        "long_files": {name: n for name, n in n_lines.items() if n > MAX_LINES},
        "cycles": cycles(trees),
        "comments_per_100": {name: _comments(texts[name]) for name in DENSE if name in texts},
    }


def _per(base: int, n: int, total: int) -> float:
    return round(base * n / total, 1)


def _n_names(tree: ast.Module, words: frozenset[str]) -> int:
    n = 0
    for node in ast.walk(tree):
        n += isinstance(node, ast.Name) and node.id in words
        n += isinstance(node, ast.arg) and node.arg in words
    return n


def _parameters(tree: ast.Module) -> list[tuple[int, int]]:
    """(number of parameters, line) of each function, without `self` and `cls`."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            found.append((len([name for name in names if name not in ("self", "cls")]), node.lineno))
    return found


def cycles(trees: dict[str, ast.Module]) -> list[list[str]]:
    """Groups of modules that import one another when they are loaded: strongly connected, by Tarjan's algorithm."""
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): tree for name, tree in trees.items()
    }
    edges = {module: sorted(_imports(tree) & modules.keys() - {module}) for module, tree in modules.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in edges[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            start = stack.index(module)
            group = stack[start:]
            del stack[start:]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in edges:
        if module not in index:
            visit(module)
    return sorted(groups)


def _imports(tree: ast.Module) -> set[str]:
    """The modules that are imported when this one is: those at its top level, without those for type checking."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _comments(text: str) -> float:
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    code = {token.start[0] for token in tokens if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER)}
    return _per(100, sum(token.type == tokenize.COMMENT for token in tokens), len(code))


if __name__ == "__main__":
    print(json.dumps(figures()))
