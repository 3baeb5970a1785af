"""The command `health`: does this node consume? What `sedano health` asks, and a load balancer or an operator may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def health_command(unready: Callable[[], str]) -> Callable[[], dict[str, Any]]:
    """The command for a node that says by `unready` why it takes no calls, "" when it does.

    Its answer is {"ok": {"ready": bool, "reason": text}}; the reason is "" when it is ready.
    """

    def health() -> dict[str, Any]:
        reason = unready()
        return {"ok": {"ready": not reason, "reason": reason}}

    return health
