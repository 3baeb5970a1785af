"""What processes use: a tree of them, its CPU time, its memory. From /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        here = waiting.pop()
        found.append(here)
        waiting.extend(children.get(here, []))
    return found


def cpu_seconds(*pids: int) -> float:
    """User and system time so far of these processes, without their children's. Those that are gone count nothing."""
    total = 0
    for process in pids:
        with contextlib.suppress(OSError):
            stat = _stat(process)
            total += int(stat[11]) + int(stat[12])
    return total / TICK


def pss_mb(*pids: int) -> float:
    """Proportional set size in MiB: a page that n processes share counts a n-th in each."""
    total = 0
    for process in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
