"""From the word after `-A` to an app."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

import sedano
from sedano.app.base import Celery
from sedano.app.finding import find_app
from sedano.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from sedano.cli.context import CliContext


class FailedToLoad(click.ClickException):
    exit_code = 2  # as for an app that is not there, and as Celery


def find(context: CliContext) -> Celery:
    """The app of the command line; see `CliContext.app`."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if context.alias:
        import sedano.as_celery as as_celery  # noqa: PLC0415 - `--no-alias` keeps it out of the process

        as_celery.turn_on(reason="the sedano command")
    if context.app_name is None:
        return Celery("default", loader="default", set_as_current=True)
    try:
        return find_app(context.app_name)
    except ImproperlyConfigured as error:
        raise click.UsageError(f"\nUnable to load celery application.\n{error}", click.get_current_context()) from error
    except (Exception, SystemExit) as error:  # whatever the user's module raises when it is imported
        if context.debug:
            raise
        raise FailedToLoad(_failed_import(context.app_name, error)) from error


def _failed_import(name: str, error: BaseException) -> str:
    """What to show of an app's module that fails: its own part of the trace, without the way through ours."""
    ours = (str(Path(sedano.__file__).parent), "<frozen importlib", str(Path(importlib.__file__).parent))
    frames = traceback.extract_tb(error.__traceback__)
    first = next((at for at, frame in enumerate(frames) if not frame.filename.startswith(ours)), len(frames))
    shown = "".join([*traceback.format_list(frames[first:]), *traceback.format_exception_only(error)])
    why = "importing it failed" if isinstance(error, Exception) else "importing it ends the program: it calls sys.exit()"
    return f"the app {name!r} could not be loaded, because {why}:\n{shown.rstrip()}"
