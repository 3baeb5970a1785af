"""What a README tells its reader to type, and what it says that comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCKS = re.compile(r"```console\n(.*?)```", re.DOTALL)
_STAYING = (" worker ", "uvicorn ", " runserver ", " web.py ")


@dataclass(frozen=True, slots=True)
class Line:
    """One line to type. `shown` is what the page shows below it: "" for nothing, `…` for what may be anything."""

    command: str
    shown: str = ""

    @property
    def stays(self) -> bool:
        """Whether it runs until somebody ends it, in a terminal of its own."""
        return any(word in f"{self.command} " for word in _STAYING)

    def is_shown(self, output: str) -> bool:
        pattern = ".*".join(re.escape(part) for part in self.shown.split("…"))
        return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def lines_of(readme: Path) -> list[Line]:
    """The lines of all console blocks, in their order."""
    found: list[Line] = []
    for block in _BLOCKS.findall(readme.read_text(encoding="utf-8")):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = piece.partition("\n")
            found.append(Line(command.strip(), shown.strip()))
    return found
