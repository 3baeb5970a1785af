"""The commands `memsample`, `memdump` and `objgraph`: what the supervisor's process uses, for people who look for a leak."""

from __future__ import annotations

import gc
import importlib
import os
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MOST_SAMPLES = 100
_samples: deque[int] = deque(maxlen=MOST_SAMPLES)  # KiB; of this process, as long as it lives


def resident_kib() -> int | None:
    """Memory of this process, None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def memsample(**_more: Any) -> str | None:
    """Take a sample and return it, such as "41.2MB"."""
    kib = resident_kib()
    if kib is None:
        return None
    _samples.append(kib)
    return _shown(kib)


def memdump(samples: int = 10, **_more: Any) -> str:
    """The last samples that were taken, one a line, and what this process has now."""
    taken = list(_samples)
    step = max(1, len(taken) // max(1, int(samples)))
    lines = [f"- rss (sample): {_shown(kib)}" for kib in taken[::step]]
    now = resident_kib()
    return "\n".join([*lines, f"- rss (end): {_shown(now) if now is not None else 'unknown'}."])


def objgraph(num: int = 200, max_depth: int = 10, type: str = "Request", **_more: Any) -> dict[str, str]:  # noqa: A002 - names on the wire
    """Draw what keeps objects of `type` alive into a file, with the package objgraph. Without it an error says so."""
    try:
        drawing = importlib.import_module("objgraph")
    except ImportError:
        counts = Counter(each.__class__.__name__ for each in gc.get_objects())
        most = ", ".join(f"{name} {count}" for name, count in counts.most_common(10))
        raise ImportError(f"Requires the objgraph library (pip install objgraph). Most objects here are: {most}") from None
    with tempfile.NamedTemporaryFile(prefix="sedanoobg", suffix=".png", delete=False) as file:
        found = drawing.by_type(type)[: int(num)]
        drawing.show_backrefs(found, max_depth=int(max_depth), highlight=lambda each: each in found, filename=file.name)
        return {"filename": file.name}


def _shown(kib: int) -> str:
    return f"{kib / 1024:.1f}MB" if kib >= 1024 else f"{kib}kB"


COMMANDS: Mapping[str, Callable[..., Any]] = {"memdump": memdump, "memsample": memsample, "objgraph": objgraph}
