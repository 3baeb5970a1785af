"""`celery.bin.base`: what commands of other packages are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import click

from sedano.app.late import current_app
from sedano.cli.celerywords import CeleryWords
from sedano.cli.headed import HeadedCommand
from sedano.cli.types import COMMA_LIST as COMMA_SEPARATED_LIST
from sedano.cli.types import ISO_TIME as ISO8601
from sedano.cli.types import ISO_TIME_OR_SECONDS as ISO8601_OR_FLOAT
from sedano.cli.types import JSON_ARRAY, JSON_OBJECT, LOG_LEVEL


class CLIContext(CeleryWords):
    """A context object for whoever makes one of their own. `app` None is the current app."""

    def __init__(self, app: Any, no_color: bool, workdir: Any, quiet: bool = False) -> None:
        self.app = app if app is not None else current_app()
        self.no_color, self.workdir, self.quiet = no_color, workdir, quiet


class CeleryOption(click.Option):
    """An option under the heading `help_group`; `default_value_from_context` names a key of the context object."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group = kwargs.pop("help_group", None)
        self.default_value_from_context = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        if self.default_value_from_context:
            self.default = ctx.obj[self.default_value_from_context]
        return super().get_default(ctx, call)


class CeleryCommand(HeadedCommand):
    """Shows options under their `help_group`."""


class DaemonOption(CeleryOption):
    """An option of every daemon, whose default is the setting `<command>_<name>`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("help_group", "Daemonization Options")
        kwargs.setdefault("callback", self.daemon_setting)
        super().__init__(args, **kwargs)

    def daemon_setting(self, ctx: click.Context, opt: click.Parameter, value: Any) -> Any:
        del opt
        return value or getattr(ctx.obj.app.conf, f"{ctx.command.name}_{self.name}", None)


class CeleryDaemonCommand(CeleryCommand):
    """With the options of a daemon: --logfile, --pidfile, --uid, --gid, --umask, --executable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(
            (
                DaemonOption("--logfile", "-f", help="Log to this file. Default: stderr."),
                DaemonOption("--pidfile", help="Write the process id to this file."),
                DaemonOption("--uid", help="Run as this user."),
                DaemonOption("--gid", help="Run as this group."),
                DaemonOption("--umask", help="File mode mask."),
                DaemonOption("--executable", help="The Python to run in."),
            )
        )


def handle_preload_options(f: Callable[..., Any]) -> Callable[..., Any]:
    """Celery's decorator of a command's function. The command line does what it does for every command."""

    def caller(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        return f(ctx, *args, **kwargs)

    return update_wrapper(caller, f)


__all__ = [
    "COMMA_SEPARATED_LIST",
    "ISO8601",
    "ISO8601_OR_FLOAT",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "CLIContext",
    "CeleryCommand",
    "CeleryDaemonCommand",
    "CeleryOption",
    "DaemonOption",
    "handle_preload_options",
]
