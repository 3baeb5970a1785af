"""What a worker says about its settings at its start: what looks odd, is spelled as it was long ago, or does nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sedano.settings import accepted_without_effect
from sedano.settings.names import canonical
from sedano.settings.validation import Finding

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.apps.worker")
_DJANGO = "django.conf:settings"  # its names carry a prefix, and are nobody's to rename


def advise(app: Celery, findings: Sequence[Finding]) -> None:
    """Log the `findings` of validation that are no mistakes, old names, and what was set and has no effect."""
    conf = app.conf
    for finding in findings:
        _logger.warning("Settings: %s", finding.text)
    old = [] if app.config_source == _DJANGO else sorted(conf.deprecated_settings)
    if old:
        renames = ", ".join(f"{name} -> {canonical(name)}" for name in old)
        _logger.warning("Settings with their old names, which take effect as before: %s", renames)
    idle = [option.name for option in accepted_without_effect() if conf.value_set_for(option.name)]
    if idle:
        _logger.info("Settings that have no effect here (`sedano report` says why): %s", ", ".join(idle))
