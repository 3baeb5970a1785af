"""Records what a real Celery declares: run with the interpreter of an environment that has Celery.

python tests/unit/settings/record_defaults.py > tests/unit/settings/recorded_defaults.json
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

import celery
from celery.app import defaults


def plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return {"seconds": value.total_seconds()}
    if isinstance(value, tuple):
        return {"tuple": list(value)}
    return "inf" if value == float("inf") else value


def row(name: str, option: Any) -> dict[str, Any]:
    return {
        "default": plain(option.default),
        "type": option.type if isinstance(option.type, str) else option.type.__name__,
        "old": sorted(old for old, new in defaults._TO_NEW_KEY.items() if new == name),
    }


lines = [f" {json.dumps(name)}: {json.dumps(row(name, option))}" for name, option in sorted(defaults._OPTIONS.items())]
sys.stdout.write(f'{{"celery": "{celery.__version__}", "settings": {{\n' + ",\n".join(lines) + "\n}}\n")
