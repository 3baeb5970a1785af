"""Things that must not be shared with a forked child: connections, locks, threads.

`on_fork(owner, forget)` has `forget(owner)` called in every child. What it held is kept alive on purpose: closing a
connection that the parent uses could end it for the parent too.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

O = TypeVar("O")  # noqa: E741 - the owner

_owners: weakref.WeakKeyDictionary[Any, Callable[[Any], Any]] = weakref.WeakKeyDictionary()
_left_to_the_parent: list[Any] = []


def on_fork(owner: O, forget: Callable[[O], Any]) -> None:
    """Call `forget(owner)` in each child that is forked while `owner` lives; what it returns is kept alive there."""
    _owners[owner] = forget


def _in_child() -> None:
    for owner, forget in list(_owners.items()):
        _left_to_the_parent.append(forget(owner))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
