"""Writes what was found into `docs/reliability.md`, between markers, from `found.json`, where the figures of all cells stand.

A run of some cells renews these and keeps the others.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.matrix.catalog import FAULTS
from tests.faults.matrix.shapes import ACKS, POOLS, STORES, Fault
from tests.faults.matrix.verdict import Found

FIGURES = Path(__file__).with_name("found.json")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN = "<!-- written by `./dev faults`: begin -->"
END = "<!-- written by `./dev faults`: end -->"
AT_ONCE = 2  # pools in one table: more make it too wide to read
GOOD, NOT_HIT, WRONG = "good", "not hit", "WRONG"


def state_of(found: Found, fault: Fault) -> str:
    """A cell in which the fault did not hit shows nothing, and is not good."""
    if found.is_wrong:
        return WRONG
    if not found.hits or (fault.must_interrupt and not (found.interrupted or found.recorded or found.again)):
        return NOT_HIT
    return GOOD


def figures(found: Found) -> str:
    """All that was counted, for people at a terminal."""
    words = [f"{found.calls} calls, {found.hits} hits", f"lost {found.lost} repeated {found.repeated} stuck {found.stuck}"]
    rest = ("late", "interrupted", "recorded", "again", "forgiven", "refused", "error")
    return "; ".join([*words, *(f"{name} {getattr(found, name)}" for name in rest if getattr(found, name))])


def short(found: Found | None, fault: Fault) -> str:
    """One field of the table."""
    if found is None:
        return ""
    state = state_of(found, fault)
    if state == NOT_HIT:
        return "*not hit*"
    words = [f"{found.hits} ×"]
    if found.error:
        words.append("**failed**")
    if state == WRONG:
        words += [f"**{getattr(found, name)} {name}**" for name in ("lost", "repeated", "stuck") if getattr(found, name)]
    else:
        words.append("0/0/0")
    for name, text in (("late", "late"), ("recorded", "recorded"), ("again", "again"), ("forgiven", "gone")):
        if getattr(found, name):
            words.append(f"{getattr(found, name)} {text}")
    return ", ".join(words)


def rows(store: str, pools: Sequence[str], known: Mapping[str, Found]) -> list[str]:
    columns = [(pool, acks) for pool in pools for acks in ACKS]
    lines = ["| what happens | " + " | ".join(f"{pool}, {acks}" for pool, acks in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for fault in FAULTS.values():
        if any(fault.fits(store, POOLS[pool], acks) for pool, acks in columns):
            fields = [short(known.get(f"{store} {pool} {acks} {fault.name}"), fault) for pool, acks in columns]
            lines.append(f"| {fault.title} (`{fault.name}`) | " + " | ".join(fields) + " |")
    return lines


def page(known: Mapping[str, Found], when: str) -> str:
    calls = sum(found.calls for found in known.values())
    wrong = [found for found in known.values() if found.is_wrong]
    lines = [
        BEGIN,
        f"{len(known)} cells, {calls:,} calls. Something was lost, repeated or stuck in {len(wrong)} cells. Last run: {when}.",
        "",
    ]
    for store in STORES:
        lines += [f"### {store}", ""]
        for pools in (list(POOLS)[at : at + AT_ONCE] for at in range(0, len(POOLS), AT_ONCE)):
            if any(key.startswith(f"{store} {pool} ") for key in known for pool in pools):
                lines += [*rows(store, pools, known), ""]
    return "\n".join([*lines, END])


def read() -> dict[str, Found]:
    if not FIGURES.exists():
        return {}
    return {key: Found(**values) for key, values in json.loads(FIGURES.read_text())["cells"].items()}


def write(new: Mapping[str, Found]) -> None:
    """Renew these cells in `found.json` and in the page."""
    known = {key: found for key, found in read().items() if key.split()[-1] in FAULTS} | dict(new)
    when = (
        json.loads(FIGURES.read_text())["when"]
        if not new and FIGURES.exists()
        else f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.system()}"
    )
    cells = {key: known[key].asdict() for key in sorted(known)}
    text = "".join(f"  {json.dumps(key)}: {json.dumps(cells[key])},\n" for key in cells).rstrip(",\n")
    FIGURES.write_text(f'{{"when": {json.dumps(when)}, "cells": {{\n{text}\n}}}}\n')
    before, _, rest = PAGE.read_text().partition(BEGIN)
    if not rest:
        raise SystemExit(f"{PAGE} has no line {BEGIN!r}")
    PAGE.write_text(before + page(known, when) + rest.partition(END)[2])
