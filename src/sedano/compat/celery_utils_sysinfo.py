"""`celery.utils.sysinfo`: what the machine has left."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from sedano.worker.cpus import container_quota, usable_cpus


def load_average() -> tuple[float, ...]:
    """Of 1, 5 and 15 minutes."""
    return tuple(math.ceil(load * 100) / 100 for load in os.getloadavg())


class df:  # noqa: N801 - Celery's name
    """Room on the disk of `path`."""

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        self.path = path
        self.stat = os.statvfs(path)

    @property
    def total_blocks(self) -> float:
        """In KiB."""
        return self.stat.f_blocks * self.stat.f_frsize / 1024

    @property
    def available(self) -> float:
        """In KiB, for everybody."""
        return self.stat.f_bavail * self.stat.f_frsize / 1024

    @property
    def capacity(self) -> int:
        """How full it is, in per cent."""
        used = self.stat.f_blocks - self.stat.f_bfree
        return math.ceil(100 * used / ((used + self.stat.f_bavail) or 1))


class CpuBudget(NamedTuple):
    """`available` processors that the process may use; `quota` what its container is given of them, None for no limit."""

    count: int  # type: ignore[assignment]  # Celery's name, which tuples have for something else
    available: int
    quota: float | None


def available_cpu_count() -> int:
    return usable_cpus()


def cgroup_cpu_quota() -> float | None:
    return container_quota()


def cpu_budget(use_cgroup_quota: bool = True) -> CpuBudget:
    """How many processes make sense: whole processors of the quota, at least one."""
    available, quota = usable_cpus(), container_quota() if use_cgroup_quota else None
    return CpuBudget(available if quota is None else max(1, min(available, int(quota))), available, quota)


__all__ = ["CpuBudget", "available_cpu_count", "cgroup_cpu_quota", "cpu_budget", "df", "load_average"]
