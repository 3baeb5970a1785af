"""The SQL of this driver: files of named blocks in `sql/`.

-- name: reserve
-- What it does, what its parameters are, what comes back.
UPDATE ...
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping

_MARK = "-- name:"


def load(file: str) -> Mapping[str, str]:
    """The statements of `sql/<file>.sql` by name, without their comments."""
    # Not by importlib.resources, which takes longer to import than the rest of this driver.
    data = pkgutil.get_data("sedano.drivers.sqlite", f"sql/{file}.sql")
    assert data is not None
    blocks: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in data.decode().splitlines():
        if line.startswith(_MARK):
            lines = blocks.setdefault(line.removeprefix(_MARK).strip(), [])
        elif line.strip() and not line.lstrip().startswith("--"):
            lines.append(line)
    return {name: "\n".join(block) for name, block in blocks.items()}
