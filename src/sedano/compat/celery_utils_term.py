"""`celery.utils.term`: text in colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_RESET = "\033[0m"
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_CODES = {
    **{name: f"\033[1;{30 + number}m" for number, name in enumerate(_COLOURS)},
    **{f"i{name}": f"\033[1;{40 + number}m" for number, name in enumerate(_COLOURS)},
    "bold": "\033[1m",
    "underline": "\033[4m",
    "blink": "\033[5m",
    "reverse": "\033[7m",
    "bright": "\033[8m",
    "reset": _RESET,
}


class colored:  # noqa: N801 - Celery's name
    """`colored().red("text ", colored().bold("in it"))`; texts within texts keep their own colour.

    `enabled` None: at a terminal, and not with NO_COLOR in the environment.
    """

    def __init__(self, *s: Any, op: str = "", enabled: bool | None = None, **_: Any) -> None:
        self.s, self.op = s, op
        self.enabled = (sys.stdout.isatty() and not os.environ.get("NO_COLOR")) if enabled is None else enabled

    def node(self, s: tuple[Any, ...], op: str) -> colored:
        return type(self)(*s, op=op, enabled=self.enabled)

    def embed(self) -> str:
        """With its colour, and without the end of it."""
        return self.op + "".join(part.embed() + _RESET if isinstance(part, colored) else str(part) for part in self.s)

    def no_color(self) -> str:
        return "".join(part.no_color() if isinstance(part, colored) else str(part) for part in self.s)

    def __getattr__(self, name: str) -> Callable[..., colored]:
        if name not in _CODES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return lambda *s: self.node(s, _CODES[name])

    def __str__(self) -> str:
        return self.embed() + _RESET if self.enabled else self.no_color()

    def __add__(self, other: object) -> str:
        return str(self) + str(other)


__all__ = ["colored"]
