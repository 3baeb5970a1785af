"""`celery.security`: see `sedano.app.security`, which its modules are."""

from __future__ import annotations

from sedano.app.security import setup_security

# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__all__ = ["setup_security"]
