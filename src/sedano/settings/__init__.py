"""One table of options, and what is derived from it: loading, renaming, validation, the reference page, the report."""

from __future__ import annotations

from sedano.settings.conf import Settings
from sedano.settings.layers import CONFIG_MODULE, NOT_GIVEN
from sedano.settings.loading import load_object, module_named_in, read_words
from sedano.settings.names import UnknownSettingWarning
from sedano.settings.option import WORKS, Option
from sedano.settings.table import OPTIONS, accepted_without_effect

__all__ = [
    "CONFIG_MODULE",
    "NOT_GIVEN",
    "OPTIONS",
    "WORKS",
    "Option",
    "Settings",
    "UnknownSettingWarning",
    "accepted_without_effect",
    "load_object",
    "module_named_in",
    "read_words",
]
