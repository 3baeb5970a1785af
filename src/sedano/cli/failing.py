"""An error that reached the command line, as one line for people and an exit code for scripts."""

from __future__ import annotations

import traceback

import click

from sedano.exceptions import ImproperlyConfigured, OperationalError, SedanoError
from sedano.log import redact_url

EX_FAILURE = 1
EX_USAGE = 2
EX_UNAVAILABLE = 69
EX_TEMPORARY = 75


def explain(error: Exception, *, debug: bool) -> int:
    """Print what happened to stderr; returns 75 when trying again may help, 2 when an option or a setting is wrong, else 1."""
    if debug or not isinstance(error, SedanoError | OSError):
        click.echo(redact_url("".join(traceback.format_exception(error))), err=True, nl=False)
        return _code_of(error)
    name = "" if isinstance(error, ImproperlyConfigured) else f"{type(error).__name__}: "
    click.echo(f"Error: {name}{redact_url(str(error))}", err=True)
    return _code_of(error)


def _code_of(error: Exception) -> int:
    if isinstance(error, ImproperlyConfigured):
        return EX_USAGE
    return EX_TEMPORARY if isinstance(error, OperationalError) else EX_FAILURE
