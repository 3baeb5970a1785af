"""What `sedano report` prints, from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pprint import pformat
from typing import Any

from sedano.settings.option import Option


def report_text(
    *,
    software: Mapping[str, str],
    platform: Mapping[str, str],
    loader: str,
    transport: str,
    results: str,
    settings: Mapping[str, Any],
    ignored: Sequence[Option],
    advice: Sequence[str] = (),
) -> str:
    """The report as text.

    `software` and `platform` are name -> version or fact, `transport` and `results` URLs without secrets, `settings` the
    censored settings that were given (`conf.table()`), `ignored` the rows without effect (`accepted_without_effect()`),
    `advice` lines of `validation.check`. A row of `ignored` that is among `settings` is marked: somebody counts on it.
    """
    head = [
        f"software -> {_pairs(software)}",
        f"platform -> {_pairs(platform)}",
        f"loader   -> {loader}",
        f"settings -> transport:{transport or 'none'} results:{results or 'disabled'}",
    ]
    given = [f"{name}: {pformat(value, width=80, compact=True)}" for name, value in settings.items()]
    parts = ["\n".join(head), "\n".join(given) or "No setting was given."]
    if advice:
        parts.append("Advice:\n" + "\n".join(f"  {line}" for line in advice))
    if ignored:
        parts.append(ignored_text(ignored, settings))
    return "\n\n".join(parts) + "\n"


def ignored_text(ignored: Sequence[Option], given: Mapping[str, Any]) -> str:
    """The settings that are accepted without effect, each with the reason; those that were given are marked with `*`."""
    width = max(len(option.name) for option in ignored)
    lines = [f"{'*' if option.name in given else ' '} {option.name:<{width}}  {option.effect}" for option in ignored]
    marked = sum(option.name in given for option in ignored)
    title = f"Accepted without effect: {len(ignored)} settings" + (f", {marked} of them given here (*)" if marked else "")
    return f"{title}\n" + "\n".join(lines)


def _pairs(facts: Mapping[str, str]) -> str:
    return " ".join(f"{name}:{fact}" for name, fact in facts.items())
