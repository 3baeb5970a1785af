"""The Lua scripts of `lua/`. Each opens with its contract; a line `--> name` is replaced by the shared part `_name.lua`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

_SHARED = re.compile(r"^--> (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server keeps it: `sha` names it. A `heavy` one is undone and done anew when its answer does not come."""

    text: str
    sha: str
    heavy: bool = False


def load(name: str, *, heavy: bool = False) -> Script:
    """The script `lua/<name>.lua` with its shared parts."""
    text = _SHARED.sub(lambda line: _read("_" + line[1]), _read(name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), heavy)


def _read(name: str) -> str:
    return (files("sedano.drivers.redis") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
