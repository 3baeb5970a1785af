"""Which value wins, as a real Celery answers: see `record_precedence.py` beside this file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from sedano.exceptions import ImproperlyConfigured
from sedano.settings import Settings

HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "recorded_precedence.json").read_text())["cases"]
KEYWORDS = {"broker": "broker_url", "backend": "result_backend"}


def load_cases() -> dict[str, list[tuple[Any, ...]]]:
    spec = importlib.util.spec_from_file_location("precedence_cases", HERE / "precedence_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases: dict[str, list[tuple[Any, ...]]] = module.CASES
    return cases


CASES = load_cases()


def run(steps: list[tuple[Any, ...]]) -> Any:
    environ: dict[str, str] = {}
    keywords = dict(next((step[1] for step in steps if step[0] == "keywords"), {}))
    changes, namespace = keywords.pop("changes", None), keywords.pop("namespace", None)
    automatic = {KEYWORDS.get(name, name): value for name, value in keywords.items()}
    conf = Settings(changes, automatic=automatic, namespace=namespace, environ=environ)
    answers: list[list[Any]] = []
    for kind, *given in steps:
        if kind == "environ":
            environ.update(given[0])
        elif kind == "assign":
            conf.update(given[0])
        elif kind == "one":
            setattr(conf, *given)
        elif kind == "source":
            conf.use_source(given[0], namespace=given[1] if len(given) > 1 else None)
        elif kind == "defaults":
            conf.add_defaults(given[0])
        elif kind == "ask":
            try:
                answers.append([getattr(conf, name, "missing") for name in given[0]])
            except ImproperlyConfigured:
                return "ImproperlyConfigured"
    return answers


@pytest.mark.filterwarnings("ignore::sedano.settings.UnknownSettingWarning")
@pytest.mark.parametrize("name", sorted(CASES))
def test_given_a_configuration_when_asked_then_it_answers_as_celery_does(name: str) -> None:
    assert run(CASES[name]) == RECORDED[name]


def test_given_the_cases_when_they_were_recorded_then_none_is_missing() -> None:
    assert set(CASES) == set(RECORDED)
