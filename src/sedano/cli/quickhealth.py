"""`sedano health` for probes: its plain uses, answered without click and without the app, for a third of the time.

Containers ask every few seconds, and pay for the start of the process each time. This reads the options that such calls have.
Whatever else is asked, or is wrong, is left to the whole command (`health.py`), which begins from the start and says what is
wrong: nothing is decided here that it would decide otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from sedano.app.nodenames import node_name
from sedano.cli.jsontext import document_text
from sedano.cli.probe import TIMEOUT_S, ask_port, ask_without_app, exit_code, read, sentence
from sedano.exceptions import ImproperlyConfigured

IN_VAIN = -1
"""Nobody has answered where the environment points; the app's settings may say where and how to ask."""

_LONGEST_S = 86400.0
_VALUES = {
    "global": {"-A": "app", "--app": "app", "-b": "broker", "--broker": "broker"},
    "own": {"-d": "destination", "--destination": "destination", "-t": "timeout", "--timeout": "timeout", "--http": "http"},
}
_FLAGS = {
    "global": {"-q": "quiet", "--quiet": "quiet", "-C": "no_color", "--no-color": "no_color", "--no-alias": "no_alias"},
    "own": {"--live": "live", "-j": "as_json", "--json": "as_json"},
}
# Variables that click would take for options, and this does not know: where one is set, the whole command is asked.
OTHERS_VARIABLES = frozenset(
    (
        "RESULT_BACKEND",
        "CONFIG_MODULE",
        "CELERY_CONFIG_MODULE",
        "CELERY_CONFIG",
        "CELERY_WORKDIR",
        "CELERY_NO_COLOR",
        "CELERY_QUIET",
        "SKIP_CHECKS",
        "CELERY_SKIP_CHECKS",
        "CELERY_NO_ALIAS",
        "CELERY_DEBUG",
        "CELERY_VERSION",
        "CELERY_HELP",
        "_SEDANO_COMPLETE",
    )
)
OWN_PREFIX = "CELERY_HEALTH_"
BROKER_VARIABLES = ("BROKER_URL", "CELERY_BROKER")
APP_VARIABLES = ("APP", "CELERY_APP")


def attempt(words: Sequence[str]) -> int | None:
    """The exit code, after the answer was printed; IN_VAIN, or None where the whole command is needed and nothing was done."""
    given = parse(words)
    if given is None or any(name in OTHERS_VARIABLES or name.startswith(OWN_PREFIX) for name in os.environ):
        return None
    try:
        found = _ask(given)
        if found is None or isinstance(found, int):
            return found
        node, ready, reason = found
        as_json = "as_json" in given
        text = document_text({"node": node, "ready": ready, "reason": reason}) if as_json else sentence(node, ready, reason)
        _print(text, to_stderr=ready is None and not as_json)
        return exit_code(ready)
    except KeyboardInterrupt:
        print("\nAborted!", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:  # the whole command will meet it too, and knows how to tell
        return None


def parse(words: Sequence[str]) -> dict[str, str] | None:
    """The options by name, a flag's being ""; None for words that are not all of them known here."""
    given: dict[str, str] = {}
    part = "global"
    rest: Iterator[str] = iter(words)
    for word in rest:
        if word == "health" and part == "global":
            part = "own"
        elif word in _FLAGS[part]:
            given[_FLAGS[part][word]] = ""
        else:
            name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            value = value if equals else next(rest, "")
            if name not in _VALUES[part] or not value:
                return None
            given[_VALUES[part][name]] = value
    return given if part == "own" else None


def _ask(given: Mapping[str, str]) -> tuple[str, bool | None, str] | int | None:
    timeout_s = float(given.get("timeout", TIMEOUT_S))
    http, live = given.get("http"), "live" in given
    if not 0 < timeout_s < _LONGEST_S or (live and http is None):
        return None
    broker = given.get("broker") or _first_of(BROKER_VARIABLES)
    if http is not None:
        return http, *ask_port(http, live=live, timeout_s=timeout_s)
    if broker:
        os.environ["CELERY_BROKER_URL"] = broker  # as the whole command does
    has_app = "app" in given or bool(_first_of(APP_VARIABLES))
    if has_app and not os.environ.get("CELERY_BROKER_URL"):
        return None
    node = node_name(given.get("destination"))
    try:
        answer, why = ask_without_app(node, timeout_s)
    except ImproperlyConfigured:
        return None
    if answer is None:
        return IN_VAIN if has_app else (node, None, why)
    return node, *read(answer)


def _first_of(variables: Sequence[str]) -> str:
    return next((value for name in variables if (value := os.environ.get(name))), "")


def _print(text: str, *, to_stderr: bool) -> None:
    print(text, file=sys.stderr if to_stderr else sys.stdout, flush=True)
