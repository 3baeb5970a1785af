"""Writes the reference page of the settings from the table: `python -m sedano.settings.reference docs/reference/settings.md`.

With `--check` nothing is written, and the exit code is 1 when the page is not what the table gives.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sedano.settings.forms import form_of
from sedano.settings.layers import ENVIRONMENT
from sedano.settings.option import Option
from sedano.settings.table import DOCUMENTED_NAMES, GROUPS, OLD_NAMES, OPTIONS, accepted_without_effect

_INTRODUCTION = """\
# Settings

<!-- Written by `python -m sedano.settings.reference docs/reference/settings.md` from the table in src/sedano/settings/rows/:
make changes there. -->

{total} settings: the {celery} that Celery 5.7 declares, {read} that it or its companions read without declaring them, and
{own} of Sedano's own. {works} take effect; {ignored} are accepted and do nothing, each with the reason, so that a
configuration written for Celery works as it is. Names that are no setting are kept for your own use; one that looks like
a misspelt setting is reported with the nearest name.

## Where they come from

Highest first:

1. the environment: {environment};
2. what the code assigns, before or after the configuration is given: `Celery(broker=..., task_default_queue=...)`,
   `app.conf.x = ...`, `app.conf.update(...)`, and `worker ... -- key=value` on the command line;
3. `app.add_defaults(...)`, the latest first;
4. `app.config_from_object(...)`: a module, `'module:attribute'`, an object, a class or a dict, read once, at the first use;
   without it the module that the environment variable `CELERY_CONFIG_MODULE` (`sedano --config`) names, and for commands
   without `-A` the module `celeryconfig` of the current directory;
5. the defaults below.

With `namespace='CELERY'` the names in the source are `CELERY_` and the new name in capitals, such as
`CELERY_TASK_ACKS_LATE`; names without it are read as well. Without a namespace the {old} old names in capitals work too,
but not mixed with new ones in one source. {documented} further spellings that were only ever documented are understood.

Seconds may be numbers or `timedelta`, numbers may be text, lists may be tuples. A setting that nobody gave is told apart
from one that was given its default. A worker checks all values at its start and names all mistakes together.
"""


def page() -> str:
    """The whole page."""
    by_origin = {origin: sum(option.origin == origin for option in OPTIONS.values()) for origin in ("celery", "read", "sedano")}
    ignored = len(accepted_without_effect())
    parts = [
        _INTRODUCTION.format(
            total=len(OPTIONS),
            celery=by_origin["celery"],
            read=by_origin["read"],
            own=by_origin["sedano"],
            works=len(OPTIONS) - ignored,
            ignored=ignored,
            environment=", ".join(f"`{variable}`" for variable in ENVIRONMENT.values()),
            old=len(OLD_NAMES),
            documented=len(DOCUMENTED_NAMES),
        )
    ]
    for title, rows in GROUPS.items():
        parts.append(f"## {title}\n\n" + "\n".join([*_HEAD, *map(_row, rows)]) + "\n")
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; the exit code."""
    checking = "--check" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    if len(paths) != 1:
        sys.stderr.write("usage: python -m sedano.settings.reference [--check] PATH\n")
        return 64
    path = paths[0]
    if checking:
        if path.exists() and path.read_text(encoding="utf-8") == page():
            return 0
        sys.stderr.write(f"{path} is not what the table gives: run python -m sedano.settings.reference {path}\n")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="utf-8")
    return 0


_HEAD = ("| setting | default | values | meaning | effect | old names |", "|---|---|---|---|---|---|")


def _row(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.old_names, *option.documented_names)) or "-"
    cells = (f"`{option.name}`", _default(option), _values(option), option.sentence, option.effect, names)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(option: Option) -> str:
    unit = {"KiB": " of KiB", "ms": " of milliseconds", "bytes": " of bytes"}.get(option.unit, "")
    return form_of(option).says + unit


def _default(option: Option) -> str:
    value = option.default
    if value is None:
        return "-"
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return f"`{value!r}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
