"""Names of things in modules: `package.module:attribute`, or `package.module.attribute`."""

from __future__ import annotations


def parts_of(name: str) -> tuple[str, str]:
    """(module, attribute); the module is "" for a name without a dot or colon."""
    module, separator, attribute = name.partition(":")
    if not separator:
        module, _, attribute = name.rpartition(".")
    return module, attribute
