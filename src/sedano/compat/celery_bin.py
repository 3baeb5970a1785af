"""`celery.bin`: the command line, for packages that add to it."""

from __future__ import annotations

from sedano.compat.later import children_of

# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__getattr__ = children_of("celery.bin")
