"""Calls that anybody can send and that end badly."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ends(NamedTuple):
    """`strange.<name>(*args)` ends in an exception of the class `error` with `text` in it."""

    name: str
    args: tuple[Any, ...]
    error: str
    text: str


ENDS_BADLY = [
    Ends("add", (1,), "TypeError", "missing 1 required positional argument: 'y'"),
    Ends("add", (1, 2, 3), "TypeError", "takes 2 positional arguments but 3 were given"),
    Ends("give_object", (), "EncodeError", "cannot write builtins.object as JSON"),
    Ends("give_deep", (10_000,), "EncodeError", "nested too deeply"),
    Ends("give_itself", (), "EncodeError", "it contains itself"),
    Ends("raise_unwritable", (), "Unwritable", "a lock"),
    Ends("raise_speechless", (), "Speechless", ""),
    Ends("raise_rude", (), "Rude", "rude"),
]

ENDS_ITS_PROCESS = [Ends("leave", (), "SystemExit", "exitcode 3")]
"""`error` leaves the task, `text` says how its process ends, in a pool whose processes run one call each."""
