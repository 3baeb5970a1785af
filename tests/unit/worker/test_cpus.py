"""How many processors a container leaves to a worker, from the files that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sedano.worker import cpus
from sedano.worker.plan import resolve_concurrency


def world(folder: Path, own: str, files: dict[str, str]) -> float | None:
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cpus.container_quota(folder / "groups", folder / "own")


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "300000 100000\n"}, 2.0),
        ("0::/../../host/name\n", {"cpu.max": "100000 100000\n"}, 1.0),
        (
            "4:memory:/x\n3:cpu,cpuacct:/d\n",
            {"cpu,cpuacct/d/cpu.cfs_quota_us": "250000", "cpu,cpuacct/d/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("3:cpu,cpuacct:/d\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1.0),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:cpuset:/\n", {"cpuset/cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
    ],
)
def test_given_control_groups_when_they_are_read_then_the_smallest_share_holds(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    assert world(tmp_path, own, files) == quota


@pytest.mark.parametrize(("quota", "count"), [(None, 4), (0.2, 1), (1.5, 2), (8.0, 4)])
def test_given_a_share_when_it_is_auto_then_it_caps_the_processors_and_only_then(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int
) -> None:
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 4)
    monkeypatch.setattr(cpus, "container_quota", lambda: quota)
    assert resolve_concurrency("auto") == count
    assert [resolve_concurrency(wanted) for wanted in (None, 0, "0", "")] == [4, 4, 4, 4]
    assert resolve_concurrency("auto", processes=False) == 4
    assert resolve_concurrency("7") == 7
