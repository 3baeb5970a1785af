"""The Lua scripts of `lua/`. Each opens with its contract; a line `--> name` is replaced by the shared part `_name.lua`."""

from __future__ import annotations

import hashlib
import pkgutil
import re

import msgspec

_SHARED = re.compile(r"^--> (\w+)$", re.MULTILINE)


class Script(msgspec.Struct, frozen=True):
    """A script as the server keeps it: `sha` names it. A `heavy` one is undone and done anew when its answer does not come."""

    text: str
    sha: str
    heavy: bool = False


def load(name: str, *, heavy: bool = False) -> Script:
    """The script `lua/<name>.lua` with its shared parts."""
    text = _SHARED.sub(lambda line: _read("_" + line[1]), _read(name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), heavy)


def _read(name: str) -> str:
    # Not by importlib.resources, which takes longer to import than the rest of this driver.
    text = pkgutil.get_data("sedano.drivers.redis", f"lua/{name}.lua")
    assert text is not None
    return text.decode()
