from __future__ import annotations

import bz2
import importlib
import lzma
import subprocess
import sys
import types
import zlib

import pytest

from sedano.exceptions import DecodeError, EncodeError
from sedano.protocol import compression

TYPES = ["application/x-gzip", "application/x-bz2", "application/x-lzma", "application/x-brotli", "application/zstd"]


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh process, where no method was used yet."""
    monkeypatch.setattr(compression, "_methods", {})


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("gzip", "application/x-gzip"),
        ("zlib", "application/x-gzip"),
        ("application/x-gzip", "application/x-gzip"),
        ("bzip2", "application/x-bz2"),
        ("bzip", "application/x-bz2"),
        ("lzma", "application/x-lzma"),
        ("xz", "application/x-lzma"),
        ("brotli", "application/x-brotli"),
        ("zstd", "application/zstd"),
        ("zstandard", "application/zstd"),
    ],
)
def test_given_a_name_when_compressed_then_the_type_is_kombus_and_the_data_comes_back(name: str, content_type: str) -> None:
    data, written = compression.compress(b"x" * 100, name)
    assert written == content_type
    assert len(data) < 100
    assert compression.decompress(data, written) == compression.decompress(data, name) == b"x" * 100


def test_given_gzip_when_compressed_then_it_is_a_zlib_stream_as_in_kombu() -> None:
    assert zlib.decompress(compression.compress(b"abc", "gzip")[0]) == b"abc"


@pytest.mark.parametrize(
    ("name", "packages"), [("brotli", ["brotli", "brotlicffi"]), ("zstd", ["backports.zstd", "compression.zstd"])]
)
def test_given_a_method_whose_package_is_missing_when_used_then_the_error_names_the_extra(
    name: str, packages: list[str], monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EncodeError, match=rf"cannot compress with '{name}': pip install 'sedano\[{name}\]'"):
        compression.compress(b"", name)
    with pytest.raises(DecodeError, match=rf"pip install 'sedano\[{name}\]'"):
        compression.decompress(b"", name)
    assert len(compression.encoders()) == 4


def test_given_an_unknown_method_when_used_then_the_error_lists_the_known_ones() -> None:
    with pytest.raises(EncodeError, match="use one of brotli, bzip, bzip2, gzip"):
        compression.compress(b"", "nope")
    with pytest.raises(DecodeError, match="cannot decompress 'nope'"):
        compression.decompress(b"", "nope")


def test_given_a_method_of_ones_own_when_registered_then_it_is_found_by_alias_and_type(unloaded: None) -> None:
    compression.register(lambda data: data[::-1], lambda data: data[::-1], "x/backwards", ["backwards"])
    assert compression.compress(b"ab", "backwards") == (b"ba", "x/backwards")
    assert compression.decompress(b"ba", "x/backwards") == b"ab"


def test_given_a_method_registered_with_kombu_when_used_then_it_is_found(
    monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    def backwards(data: bytes) -> bytes:
        return data[::-1]

    kombu = types.ModuleType("kombu.compression")
    kombu.get_encoder = lambda name: ({"kombus": backwards}[name], "x/kombus")  # type: ignore[attr-defined]
    kombu.get_decoder = lambda _: backwards  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kombu.compression", kombu)
    assert compression.compress(b"ab", "kombus") == (b"ba", "x/kombus")
    with pytest.raises(EncodeError, match="'other'"):
        compression.compress(b"ab", "other")


def test_given_a_method_of_ones_own_that_fails_when_compressing_then_the_error_names_it(unloaded: None) -> None:
    compression.register(lambda _: b"" + None, lambda data: data, "x/fails")  # type: ignore[operator]
    with pytest.raises(EncodeError, match="x/fails"):
        compression.compress(b"ab", "x/fails")


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("data", [b"", b"garbage", b"\x00" * 40])
def test_given_what_is_no_stream_when_decompressed_then_it_is_a_decode_error(content_type: str, data: bytes) -> None:
    with pytest.raises(DecodeError, match=f"the data is no {content_type} stream"):
        compression.decompress(data, content_type)


@pytest.mark.parametrize("content_type", TYPES)
def test_given_a_stream_that_was_cut_when_decompressed_then_it_is_a_decode_error_at_every_place(content_type: str) -> None:
    data, _ = compression.compress(bytes(range(256)) * 3, content_type)
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            compression.decompress(data[:length], content_type)


@pytest.mark.parametrize("content_type", TYPES)
def test_given_a_bomb_when_decompressed_then_it_is_refused_at_the_limit(
    content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "LONGEST", 1000)
    for length in (0, 1, 999, 1000):
        data, _ = compression.compress(b"0" * length, content_type)
        assert compression.decompress(data, content_type) == b"0" * length
    for length in (1001, 100_000):
        data, _ = compression.compress(b"0" * length, content_type)
        with pytest.raises(DecodeError, match="more than 1000 bytes, which is refused as a decompression bomb"):
            compression.decompress(data, content_type)


BOMB = """
import sys
from sedano.protocol import compression
from sedano.exceptions import DecodeError
data, _ = compression.compress(b"0" * (64 << 20), sys.argv[1])
compression.LONGEST = 1 << 20
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
try:
    compression.decompress(data, sys.argv[1])
except DecodeError:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak_kb = int(status["VmHWM"].split()[0])
    raise SystemExit(0 if peak_kb < 64 << 10 else f"{peak_kb} kB at most")
raise SystemExit("not refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's count of memory")
@pytest.mark.parametrize("content_type", ["application/zstd", "application/x-brotli", "application/x-gzip"])
def test_given_a_bomb_when_decompressed_then_the_memory_is_never_asked_for(content_type: str) -> None:
    done = subprocess.run([sys.executable, "-c", BOMB, content_type], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "content_type"), [(bz2, "application/x-bz2"), (lzma, "application/x-lzma")])
def test_given_streams_one_after_another_when_decompressed_then_they_are_one_as_in_python(
    module: types.ModuleType, content_type: str
) -> None:
    data = module.compress(b"ab") + module.compress(b"cd")
    for more in (b"", b"what follows is ignored"):
        assert compression.decompress(data + more, content_type) == module.decompress(data + more) == b"abcd"


def test_given_a_plain_import_when_nothing_is_compressed_then_no_library_is_loaded() -> None:
    code = (
        "import sys; before = set(sys.modules); import sedano, sedano.serialization; sedano.Celery().task;"
        "print(sorted({'bz2', 'lzma', 'zlib', 'brotli', 'backports', 'pickle', 'yaml', 'msgpack', 'cryptography', 'pydantic'}"
        " & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_given_an_old_brotli_when_used_then_the_error_says_which_is_needed(
    monkeypatch: pytest.MonkeyPatch, unloaded: None
) -> None:
    class Old:
        def process(self, data: bytes) -> bytes:
            return data

    real = importlib.import_module("brotli")
    old = types.ModuleType("brotli")
    old.compress, old.Decompressor = real.compress, Old  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "brotli", old)
    data, _ = compression.compress(b"x", "brotli")
    with pytest.raises(DecodeError, match=r"older than 1\.2"):
        compression.decompress(data, "brotli")
