"""How many processes are worth running at once: the processors of this process, and the share that its container may use."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Processors that this process may run on; at least 1."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def affordable_cpus() -> int:
    """`usable_cpus`, or fewer where a control group (a container's limit) gives less time than they have; rounded up."""
    quota = container_quota()
    return usable_cpus() if quota is None else min(usable_cpus(), max(1, math.ceil(quota)))


def container_quota(groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS) -> float | None:
    """Processors' worth of time that the control groups of this process allow, the smallest of all above it; None: no limit.

    `groups` is where they are mounted, `own_groups` the file that names those of this process.
    """
    limits = [limit for folder in _folders(groups, own_groups) for limit in (_new_limit(folder), _old_limit(folder)) if limit]
    return min(limits, default=None)


def _folders(groups: Path, own_groups: Path) -> Iterator[Path]:
    """The folders of the process's groups up to the roots: of the unified hierarchy, and of the processors' own one."""
    lines = _read(own_groups).splitlines() or ["0::/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Within a container the name may be that of the host, and the folder is not there: those above it are.
        inside = PurePosixPath("/", *(part for part in PurePosixPath(name).parts if part not in ("/", "..")))
        for root in [groups / controllers, groups / "cpu"] if controllers else [groups]:
            for path in (inside, *inside.parents):
                yield root / path.relative_to("/")


def _new_limit(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return _ratio(quota, period)


def _old_limit(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """None for "max", -1, and what cannot be read."""
    try:
        used, of = int(quota), int(period)
    except ValueError:
        return None
    return used / of if used > 0 and of > 0 else None


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return ""
