from __future__ import annotations

from pathlib import Path

import pytest

from sedano.worker.oom import OomKills, describe_loss


def group(tmp_path: Path, own: str, file: str) -> tuple[Path, Path, Path]:
    """(what /proc says, the root of the groups, the file that counts)."""
    counter = tmp_path / "groups" / file
    counter.parent.mkdir(parents=True)
    counter.write_text("low 0\noom 7\noom_kill 3\noom_group_kill 9\n")
    (tmp_path / "own").write_text(own)
    return tmp_path / "own", tmp_path / "groups", counter


@pytest.mark.parametrize(
    ("own", "file"),
    [
        ("0::/app.slice/w1.service\n", "app.slice/w1.service/memory.events"),
        ("0::/../outside\n", "memory.events"),
        ("9:cpu:/x\n4:hugetlb,memory:/docker/1\n0::/x\n", "memory/docker/1/memory.oom_control"),
        ("4:memory:/docker/1\n", "memory/memory.oom_control"),
    ],
)
def test_given_a_group_that_counts_when_its_count_rises_then_each_kill_is_told_once(
    tmp_path: Path, own: str, file: str
) -> None:
    own_file, root, counter = group(tmp_path, own, file)
    kills = OomKills(own_file, root)
    assert kills.is_counted
    assert not kills.took_one(), "what happened before is not ours"
    counter.write_text("oom 9\noom_kill 5\n")
    assert [kills.took_one() for _ in range(3)] == [True, True, False]


def test_given_kills_of_others_when_seconds_pass_then_they_are_forgotten_but_not_at_once(tmp_path: Path) -> None:
    own_file, root, counter = group(tmp_path, "0::/w\n", "w/memory.events")
    kills = OomKills(own_file, root)
    counter.write_text("oom_kill 4\n")
    kills.forget()
    assert kills.took_one(), "the process may take its time to die"
    counter.write_text("oom_kill 5\n")
    kills.forget()
    kills.forget()
    assert not kills.took_one()


def test_given_a_system_without_a_count_when_it_is_asked_then_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    for own in (tmp_path / "own", tmp_path / "missing"):
        kills = OomKills(own, tmp_path)
        assert not kills.is_counted
        assert not kills.took_one()


def test_given_what_is_known_of_a_loss_when_it_is_described_then_no_more_than_that_is_said() -> None:
    assert describe_loss(None, oom=False) == ""
    assert describe_loss(51_300, oom=False) == "; the process had held up to 50 MiB of memory"
    told = ", sent by the system's out-of-memory killer; the process had held up to 2048 MiB of memory"
    assert describe_loss(2 << 20, oom=True) == told
