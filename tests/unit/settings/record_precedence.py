"""Records what a real Celery answers to `precedence_cases.py`: run with the interpreter of an environment that has Celery.

python tests/unit/settings/record_precedence.py > tests/unit/settings/recorded_precedence.json
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import celery
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from precedence_cases import CASES


def run(steps: list[tuple[Any, ...]]) -> Any:
    for variable in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[variable]
    keywords = next((step[1] for step in steps if step[0] == "keywords"), {})
    app = Celery("recording", set_as_current=False, **keywords)
    answers: list[list[Any]] = []
    for kind, *given in steps:
        if kind == "environ":
            os.environ.update(given[0])
        elif kind == "assign":
            app.conf.update(given[0])
        elif kind == "one":
            setattr(app.conf, *given)
        elif kind == "source":
            app.config_from_object(given[0], namespace=given[1] if len(given) > 1 else None)
        elif kind == "defaults":
            app.add_defaults(given[0])
        elif kind == "ask":
            try:
                answers.append([getattr(app.conf, name, "missing") for name in given[0]])
            except ImproperlyConfigured:
                return "ImproperlyConfigured"
    return answers


lines = [f" {json.dumps(name)}: {json.dumps(run(steps))}" for name, steps in CASES.items()]
sys.stdout.write(f'{{"celery": "{celery.__version__}", "cases": {{\n' + ",\n".join(lines) + "\n}}\n")
