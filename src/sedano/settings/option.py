"""One row of the table: what is known about one setting."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Type = Literal["bool", "int", "float", "string", "list", "tuple", "dict", "any", "bytes"]
Origin = Literal["celery", "read", "sedano"]

WORKS: Final = "works"


class Option(msgspec.Struct, frozen=True):
    """One setting.

    `effect` is WORKS, or the reason why the setting is accepted and does nothing: "not yet: ..." for what a later release
    brings, "not needed: ..." for what this engine does without. To change it, change the row.

    `type` is the word that Celery uses for it and decides how a word of the command line is cast; `form` names the entry of
    `forms.FORMS` that says which values are meaningful (derived from type and unit when empty). `unit` is "s", "ms",
    "KiB" or "bytes". `minimum` is the smallest meaningful number.

    `old_names` are the upper-case names that Celery's own map holds, `documented_names` those that are written somewhere
    but unknown to that map: they take part in no mixing rule. `origin` is "celery" (declared there with a default), "read"
    (read or documented there, never declared) or "sedano" (ours).
    """

    name: str
    type: Type
    default: Any
    sentence: str
    old_names: tuple[str, ...] = ()
    documented_names: tuple[str, ...] = ()
    unit: str = ""
    form: str = ""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    effect: str = WORKS
    origin: Origin = "celery"

    @property
    def works(self) -> bool:
        return self.effect == WORKS

    @property
    def old(self) -> set[str]:
        """Celery's attribute of that name."""
        return {name.lower() for name in self.old_names}
