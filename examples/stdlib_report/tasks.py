"""One task: read a Python source file and say what is in it. The app names no broker, so it uses the embedded store."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TypedDict

from sedano import Sedano

app = Sedano("stdlib_report")


class Longest(TypedDict):
    name: str
    lines: int


class Findings(TypedDict):
    """What one file holds: counts, its longest function, and the modules that it imports."""

    path: str
    lines: int
    functions: int
    classes: int
    longest: Longest | None
    imports: list[str]


@app.task
def study(path: str) -> Findings:
    """Parse the file at `path`. Raises SyntaxError or UnicodeDecodeError for a file that is no Python source on purpose
    (the standard library ships a few to test itself)."""
    source = Path(path).read_bytes()
    tree = ast.parse(source, filename=path)
    functions = classes = 0
    longest: Longest | None = None
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions += 1
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if longest is None or length > longest["lines"]:
                longest = {"name": node.name, "lines": length}
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports.add(node.module.partition(".")[0])
    return {
        "path": path,
        "lines": source.count(b"\n"),
        "functions": functions,
        "classes": classes,
        "longest": longest,
        "imports": sorted(imports),
    }
