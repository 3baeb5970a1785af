"""Where the `sedano` command begins. What containers ask every few seconds is answered without the command line's machinery."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 done, 1 failed, 2 an option or a setting cannot be, or the app cannot be loaded, 69 nobody answered, 75 temporary (try
    again), 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    asked_in_vain = False
    if "health" in words:
        from sedano.cli.quickhealth import IN_VAIN, attempt  # noqa: PLC0415 - for one command

        code = attempt(words)
        if code is not None and code != IN_VAIN:
            return code
        asked_in_vain = code == IN_VAIN
    from sedano.cli.group import run  # noqa: PLC0415 - brings click, which a probe does without

    return run(words, asked_in_vain=asked_in_vain)
