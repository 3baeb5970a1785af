"""Commands that other packages bring: the entry point groups `celery.commands` (Flower's, for one) and `sedano.commands`.

Each entry point names a click command. They are found when a word is no command of ours, and loaded when they are used or
shown; one that cannot be loaded says so in its place, and the others work.
"""

from __future__ import annotations

import contextlib
import sys
from functools import cache
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = ("sedano.commands", "celery.commands")


class BrokenPlugin(click.Command):
    """Stands where a plugin would be that cannot be loaded."""

    def __init__(self, entry: EntryPoint, error: BaseException) -> None:
        reason = " ".join(str(error).split()) or "no reason given"
        whose = f" of {entry.dist.name}" if entry.dist is not None else ""
        self.sentence = f"the plugin {entry.name!r}{whose} ({entry.value}) cannot be loaded: {type(error).__name__}: {reason}"
        super().__init__(
            entry.name,
            help=f"Warning: {self.sentence}",
            short_help=f"Warning: cannot be loaded ({type(error).__name__}: {reason}).",
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )

    def invoke(self, ctx: click.Context) -> None:
        del ctx
        raise click.ClickException(self.sentence)


@cache
def plugins() -> dict[str, EntryPoint]:
    """The entry points by the name of the command. Of two of one name the first counts, ours before Celery's."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - looks at everything that is installed

    found: dict[str, EntryPoint] = {}
    for group in GROUPS:
        for entry in entry_points(group=group):
            found.setdefault(entry.name, entry)
    return found


def load(name: str, *, alias: bool) -> click.Command | None:
    """The command of that name, a `BrokenPlugin` for one that cannot be loaded, None for none. With `alias`, what it imports
    from `celery` is Sedano."""
    entry = plugins().get(name)
    if entry is None:
        return None
    try:
        if alias:
            import sedano.as_celery as as_celery  # noqa: PLC0415 - `--no-alias` keeps it out of the process

            as_celery.turn_on(reason="the sedano command")
        with contextlib.redirect_stdout(sys.stderr):  # what it prints when it is imported is no output of the command
            command = entry.load()
    except (Exception, SystemExit) as error:  # whatever somebody else's package raises when it is imported
        return BrokenPlugin(entry, error)
    if not isinstance(command, click.Command):
        return BrokenPlugin(entry, TypeError(f"{command!r} is no click command"))
    return command


def sentences(*, alias: bool) -> list[tuple[str, str]]:
    """(name, its short help) of every plugin, for help pages."""
    shown: list[tuple[str, str]] = []
    for name in plugins():
        command = load(name, alias=alias)
        assert command is not None
        shown.append((name, command.get_short_help_str(limit=90)))
    return shown
