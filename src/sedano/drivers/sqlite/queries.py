"""The SQL of this driver: files of named blocks in `sql/`.

-- name: reserve
-- What it does, what its parameters are, what comes back.
UPDATE ...
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

_MARK = "-- name:"


def load(file: str) -> Mapping[str, str]:
    """The statements of `sql/<file>.sql` by name, without their comments."""
    text = resources.files("sedano.drivers.sqlite").joinpath("sql", f"{file}.sql").read_text("utf-8")
    blocks: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            lines = blocks.setdefault(line.removeprefix(_MARK).strip(), [])
        elif line.strip() and not line.lstrip().startswith("--"):
            lines.append(line)
    return {name: "\n".join(block) for name, block in blocks.items()}
