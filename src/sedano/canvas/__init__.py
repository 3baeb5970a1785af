"""Workflows as data. Signatures for now; chain, group and chord come with a later release."""

from __future__ import annotations

from typing import Any, NoReturn

from sedano.canvas.signature import Signature, maybe_signature, maybe_subtask, signature, subtask


def _later(name: str) -> Any:
    """A class to import and to test with isinstance(), which nobody can make an instance of yet."""

    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{name}() comes with canvas, which is not built yet")

    return type(name, (Signature,), {"__init__": refuse, "__module__": __name__})


chain = _later("chain")
group = _later("group")
chord = _later("chord")
chunks = _later("chunks")
xmap = _later("xmap")
xstarmap = _later("xstarmap")

__all__ = [
    "Signature",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
