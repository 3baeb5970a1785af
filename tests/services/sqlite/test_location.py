"""URLs of SQLite stores, and where one may lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers import sqlite
from sedano.drivers.sqlite.location import locate, network_filesystem
from sedano.exceptions import ImproperlyConfigured

MOUNTS = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /proc rw - proc proc rw
40 22 0:40 / /mnt/share rw - nfs4 server:/share rw
41 40 0:41 / /mnt/share/local rw - ext4 /dev/vdb rw
42 22 0:42 / /mnt/with\040space rw - fuse.sshfs me@host:/ rw
43 22 0:43 / /mnt/fuse rw - fuse.ntfs-3g /dev/sdc rw
44 22 0:44 / /over rw - ext4 /dev/vdc rw
45 44 0:45 / /over rw - cifs //server/over rw
"""


class TestUrls:
    def test_given_three_slashes_when_located_then_the_path_is_relative_to_the_current_directory(self) -> None:
        assert locate("sqlite:///some.db").path == os.path.join(os.path.realpath(os.getcwd()), "some.db")

    def test_given_four_slashes_when_located_then_the_path_is_absolute(self, tmp_path: Path) -> None:
        assert locate(f"sqlite:///{tmp_path}/some.db").path == os.path.realpath(tmp_path / "some.db")

    def test_given_escapes_when_located_then_they_are_undone(self) -> None:
        assert locate("sqlite:////tmp/a%20b%23c.db").path.endswith("/a b#c.db")

    def test_given_nothing_else_when_located_then_the_defaults_hold(self) -> None:
        location = locate("sqlite:////tmp/a.db")
        assert (location.synchronous, location.busy_timeout_s, location.max_bytes) == ("NORMAL", 10.0, None)

    def test_given_parameters_when_located_then_they_count(self) -> None:
        location = locate("sqlite:////tmp/a.db?synchronous=full&busy_timeout=2.5&max_bytes=10000000")
        assert (location.synchronous, location.busy_timeout_s, location.max_bytes) == ("FULL", 2.5, 10_000_000)

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("sqlite://", "memory://"),
            ("sqlite:///", "memory://"),
            ("sqlite:///:memory:", "memory://"),
            ("sqlite:///file::memory:?cache=shared", "memory://"),
            ("sqlite:///x.db?mode=memory", "memory://"),
            ("sqlite://relative.db", "sqlite:///relative.db"),
            ("sqlite://host/x.db", "sqlite:////absolute/path.db"),
            ("sqlite:///x.db#part", "%23"),
            ("sqlite:///x%00.db", "zero byte"),
            ("sqlite:///x.db?synchronus=FULL", "Did you mean synchronous"),
            ("sqlite:///x.db?colour=red", "busy_timeout, max_bytes, synchronous"),
            ("sqlite:///x.db?synchronous=OFF", "NORMAL"),
            ("sqlite:///x.db?busy_timeout=5000", "seconds"),
            ("sqlite:///x.db?busy_timeout=0", "seconds"),
            ("sqlite:///x.db?busy_timeout=soon", "seconds"),
            ("sqlite:///x.db?max_bytes=10MB", "bytes"),
            ("redis://localhost/0", "sqlite:///relative.db"),
        ],
    )
    def test_given_a_wrong_url_when_opened_then_it_is_refused_at_once_and_the_error_says_what_to_write(
        self, url: str, says: str
    ) -> None:
        for open_it in (sqlite.open_broker, sqlite.open_results, sqlite.open_coordination, sqlite.open_bus):
            with pytest.raises(ImproperlyConfigured, match=says.replace("?", r"\?")):
                open_it(url, OpenOptions())

    def test_given_two_urls_of_one_file_when_asked_then_they_share_the_store(self, tmp_path: Path) -> None:
        (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
        one = f"sqlite:///{tmp_path}/store.db"
        assert sqlite.shares_store(one, f"sqlite:///{tmp_path}/./store.db?synchronous=FULL")
        assert sqlite.shares_store(one, f"sqlite:///{tmp_path}/link.db")
        assert not sqlite.shares_store(one, f"sqlite:///{tmp_path}/other.db")
        assert not sqlite.shares_store(one, "redis://localhost/0")


class TestPlaces:
    def test_given_a_missing_directory_when_opened_then_the_error_names_it_and_nothing_is_created(self, tmp_path: Path) -> None:
        with pytest.raises(ImproperlyConfigured, match="missing"):
            sqlite.open_broker(f"sqlite:///{tmp_path}/missing/store.db", OpenOptions())
        assert list(tmp_path.iterdir()) == []

    def test_given_a_directory_when_opened_as_a_store_then_it_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImproperlyConfigured, match="is a directory"):
            sqlite.open_broker(f"sqlite:///{tmp_path}", OpenOptions())

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/home/me/store.db", None),
            ("/mnt/share/store.db", "nfs4"),
            ("/mnt/shared/store.db", None),
            ("/mnt/share/local/store.db", None),
            ("/mnt/with space/store.db", "fuse.sshfs"),
            ("/mnt/fuse/store.db", None),
            ("/over/store.db", "cifs"),
        ],
    )
    def test_given_a_table_of_mounts_when_looked_up_then_network_file_systems_are_known(
        self, path: str, kind: str | None
    ) -> None:
        assert network_filesystem(path, MOUNTS) == kind

    def test_given_no_table_of_mounts_when_looked_up_then_nothing_is_refused(self) -> None:
        assert network_filesystem("/mnt/share/store.db", "") is None

    def test_given_a_network_file_system_when_opened_then_it_is_refused_with_a_way_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mounts = tmp_path / "mountinfo"
        mounts.write_text("22 1 254:0 / / rw - nfs server:/ rw\n")
        monkeypatch.setattr("sedano.drivers.sqlite.location._MOUNTS", str(mounts))
        with pytest.raises(ImproperlyConfigured, match=r"network file system \(nfs\).*redis://"):
            sqlite.open_broker(f"sqlite:///{tmp_path}/store.db", OpenOptions())
