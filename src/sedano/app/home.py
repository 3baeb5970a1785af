"""Where the embedded store lies, for an app without a broker.

`.sedano/` beside the nearest `pyproject.toml`, `setup.cfg`, `manage.py` or `.git` above the module that made the app, else in
that module's folder; so a script that sends and a worker that loads the same module meet in one place, wherever they are
started from. Only an app that no file made (a prompt) uses the current directory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

FOLDER = ".sedano"
DATABASE = "sedano.db"
MARKERS = ("pyproject.toml", "setup.cfg", "manage.py", ".git")


def store_folder(module_file: str | None) -> Path:
    """The folder of the embedded store for an app that `module_file` made; nothing is created."""
    if module_file is None:
        return Path.cwd() / FOLDER
    start = Path(module_file).resolve().parent
    for folder in (start, *start.parents):
        if any((folder / marker).exists() for marker in MARKERS):
            return folder / FOLDER
    return start / FOLDER


def make_folder(folder: Path) -> None:
    """Create the folder, with a `.gitignore` that keeps all of it out of version control."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def module_file_of_caller(maker: Any) -> str | None:
    """The file whose code is making the app `maker`, or None at a prompt and when Sedano itself makes it."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    # Constructors of subclasses, in whichever module they stand, are part of the making.
    while frame is not None and frame.f_locals.get("self") is maker:
        frame = frame.f_back
    while frame is not None and frame.f_globals.get("__name__") == "functools":
        frame = frame.f_back
    if frame is None or str(frame.f_globals.get("__name__", "")).partition(".")[0] == "sedano":
        return None
    file = frame.f_globals.get("__file__")
    return str(Path(file).absolute()) if file else None
