"""`celery.bin.celery` and `celery.__main__`: the command itself, for whoever adds to it or runs it."""

from __future__ import annotations

from sedano.cli.group import cli as celery
from sedano.cli.main import main

__all__ = ["celery", "main"]
