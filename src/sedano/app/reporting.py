"""What `app.bugreport()` and `sedano report` say: versions, platform, where the stores are, every setting and its worth."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

import sedano
from sedano.exceptions import SedanoError
from sedano.log import redact_url
from sedano.settings import accepted_without_effect
from sedano.settings.report import report_text
from sedano.settings.validation import check

if TYPE_CHECKING:
    from sedano.app.base import Celery

_PACKAGES = ("msgspec", "click", "redis", "hiredis", "celery", "kombu")


def bugreport(app: Celery) -> str:
    """The report as text, without secrets. Wrong settings are part of it, they do not make it fail; nothing is connected."""
    conf, loader = app.conf, type(app.loader)
    transport, results = _stores(app)
    return report_text(
        software={"sedano": sedano.__version__, "py": platform.python_version(), **_installed()},
        platform={
            "system": platform.system(),
            "arch": ", ".join(filter(None, platform.architecture())),
            "kernel version": platform.release(),
            "imp": platform.python_implementation(),
        },
        loader=f"{loader.__module__}.{loader.__qualname__}",
        transport=transport,
        results=results,
        settings=conf.table(),
        ignored=accepted_without_effect(),
        advice=[finding.text for finding in check(conf)],
    )


def _stores(app: Celery) -> tuple[str, str]:
    """Where calls and results go, as text; what is wrong with that, if something is."""
    try:
        stores = app.stores
    except SedanoError as exc:
        return f"({redact_url(str(exc))})", "(the same)"
    embedded = " (embedded: no broker is configured)" if stores.embedded is not None else ""
    return redact_url(stores.broker_url) + embedded, redact_url(stores.results_url or "")


def _installed() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
