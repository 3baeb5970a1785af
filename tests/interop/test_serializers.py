"""Serializers, compressions and signatures: written by one engine, read by the other."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import identity
from tests.interop.environments import celery_environment
from tests.interop.peers import Pair, Peer, Place, engine, folder_for
from tests.servers import RedisServer, is_left_out

from sedano import Celery
from sedano.protocol import compression, serializers

pytestmark = [pytest.mark.celery, pytest.mark.redis]

COMPRESSIONS = [None, "gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "brotli", "zstd"]
# What every serializer carries.
VALUES = [0, -(2**40), 2.5, None, True, "Sellerie, 芹菜 \U0001f96c", "", [], {}, {"a": [{"b": [1, "x"]}]}, "long " * 5000]
BINARY = {"msgpack": [b"\xff\x00"], "yaml": [b"\xff\x00"], "pickle": [b"\xff\x00", (1, 2)], "json": [b"\xff\x00"]}


@pytest.mark.parametrize("serializer", ["msgpack", "yaml", "json", "pickle"])
def test_given_each_serializer_and_compression_when_called_then_the_values_arrive(pair: Pair, serializer: str) -> None:
    source = """
        sent = [echo.apply_async(values, {"binary": binary}, serializer=serializer, compression=compression)
                for compression in compressions]
        [result.get(timeout=PATIENCE) for result in sent]
    """
    # What binary values become in the JSON of the result is told by test_calls.py.
    binary = BINARY[serializer] if serializer == "json" else []
    answers = pair.ask(source, values=VALUES, binary=binary, serializer=serializer, compressions=COMPRESSIONS)
    assert answers == [[VALUES, {"binary": binary}]] * len(COMPRESSIONS)


@pytest.mark.parametrize("serializer", ["msgpack", "yaml", "pickle"])
def test_given_values_of_one_serializer_when_called_then_the_task_sees_their_types(pair: Pair, serializer: str) -> None:
    source = "[kind.apply_async((value,), serializer=serializer).get(timeout=PATIENCE) for value in values]"
    expected = [type(value).__name__ for value in BINARY[serializer]]
    assert pair.ask(source, values=BINARY[serializer], serializer=serializer) == expected


@contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        place = Place(server, 0, folder_for("place", folder))
        try:
            yield place
        finally:
            place.close()


@pytest.mark.parametrize("direction", ["celery5.7>sedano", "sedano>celery5.7"])
@pytest.mark.parametrize(
    ("serializer", "compression"), [("msgpack", "zstd"), ("yaml", "brotli"), ("pickle", "bzip2"), ("json", "xz")]
)
@pytest.mark.setting("result_serializer", "result_compression", "result_accept_content")
def test_given_a_serializer_and_compression_of_results_when_stored_then_the_other_engine_reads_them(
    direction: str, serializer: str, compression: str, tmp_path: Path
) -> None:
    with open_place(tmp_path) as place:
        options = {"result_serializer": serializer, "result_compression": compression, "result_accept_content": [serializer]}
        place.settings["INTEROP_SETTINGS"] = json.dumps(options)
        caller, worker = map(engine, direction.split(">"))
        place.worker(worker, f"w1@{worker.name}")
        peer = place.peer(caller)

        assert peer.ask("same.delay(values).get(timeout=PATIENCE)", values=VALUES) == VALUES
        assert peer.ask("outcome(fail.delay('no', 5))") == ("raised", "ValueError", ("no", 5))

        stored = [place.redis.get(key) for key in place.redis.keys("celery-task-meta-*")]
        assert all(record.startswith(b"\0celery-compressed\0application/") for record in stored)


# -- signatures -------------------------------------------------------------------------------------------------------


class Signers:
    """Who signs and whom they trust, as settings of `project/calc.py`. alice and bob trust each other, nobody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("alice", "bob", "mallory"):
            made = identity(name)
            made.save(folder, name)
            if name != "mallory":
                made.save(folder / "store", name)
                (folder / "store" / f"{name}.key").unlink()

    def of(self, name: str, **more: Any) -> dict[str, str]:
        options = {
            "task_serializer": "auth",
            "accept_content": ["auth"],
            "result_accept_content": ["json"],
            "security_key": str(self.folder / f"{name}.key"),
            "security_certificate": str(self.folder / f"{name}.pem"),
            "security_cert_store": str(self.folder / "store"),
            **more,
        }
        return {"INTEROP_SETTINGS": json.dumps(options)}


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Signers:
    return Signers(tmp_path_factory.mktemp("signers"))


@pytest.fixture(scope="module", params=["celery5.7>sedano", "sedano>celery5.7"])
def signed(
    request: pytest.FixtureRequest, signers: Signers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Place, Peer]]:
    """A caller alice and a worker bob. Not with Celery 5.4: it compares the time of certificates with one that has no zone,
    which raises TypeError."""
    caller, worker = map(engine, request.param.split(">"))
    with open_place(tmp_path_factory.mktemp("signed")) as place:
        place.settings.update(signers.of("alice"))
        place.ready(worker, f"w1@{worker.name}", environment=signers.of("bob"))
        yield place, place.peer(caller)


def test_given_signed_calls_when_both_trust_each_other_then_they_run(signed: tuple[Place, Peer]) -> None:
    _, peer = signed
    assert peer.ask("[add.delay(2, n).get(timeout=PATIENCE) for n in range(5)]") == [2, 3, 4, 5, 6]
    assert peer.ask("echo.apply_async(('x',), {'k': [1]}, compression='zlib', countdown=0.1).get(timeout=PATIENCE)") == [
        ["x"],
        {"k": [1]},
    ]


def test_given_a_signed_call_when_it_retries_and_links_then_what_follows_is_signed_too(signed: tuple[Place, Peer]) -> None:
    _, peer = signed
    assert peer.ask("flaky.delay(2).get(timeout=PATIENCE)[0]") == 2
    source = """
        result = add.apply_async((2, 3), link=mul.s(10))
        result.get(timeout=PATIENCE)
        until(lambda: result.children)[0].get(timeout=PATIENCE)
    """
    assert peer.ask(source) == 50


def test_given_nodes_that_demand_signatures_when_asked_then_questions_and_answers_are_signed(
    signed: tuple[Place, Peer],
) -> None:
    _, peer = signed
    (answer,) = peer.ask("until(lambda: app.control.ping(timeout=2))")
    assert list(answer.values()) == [{"ok": "pong"}]


@pytest.mark.parametrize("caller", ["celery5.7", "sedano"])
@pytest.mark.parametrize(("who", "changes", "reason"), [
    ("mallory", {}, "Unknown certificate: 'mallory 4242' is not in security_cert_store"),
    ("alice", {"task_serializer": "json", "security_key": None}, "untrusted content of type json"),
])  # fmt: skip
def test_given_a_signer_who_is_not_trusted_when_he_calls_sedano_then_it_is_a_dead_letter_with_the_reason(
    signers: Signers, tmp_path: Path, caller: str, who: str, changes: dict[str, Any], reason: str
) -> None:
    with open_place(tmp_path) as place:
        place.ready(engine("sedano"), "w1@sedano", environment=signers.of("bob"))
        place.settings.update(signers.of(who, **changes))
        task_id = place.peer(engine(caller)).ask("add.delay(2, 3).id")

        (dead,) = place.until(lambda: dead_letters(place))

        assert (dead.note.task_id, dead.note.task) == (task_id, "calc.add")
        assert reason in dead.note.detail
        assert not place.ledger.starts()


def test_given_a_signed_call_that_is_changed_on_its_way_when_it_arrives_then_it_is_a_dead_letter(
    signers: Signers, tmp_path: Path
) -> None:
    with open_place(tmp_path) as place:
        place.settings.update(signers.of("alice"))
        place.peer(engine("celery5.7")).ask("mark.delay('2000 euros').id")
        replace_body(place, lambda body: body.replace(b"2000", b"9000"))

        place.ready(engine("sedano"), "w1@sedano", environment=signers.of("bob"))

        (dead,) = place.until(lambda: dead_letters(place))
        assert "Bad signature: the content was changed after 'alice 4242' signed it" in dead.note.detail
        assert not place.ledger.starts()


def dead_letters(place: Place) -> Any:
    app = Celery("looking", broker=place.server.url_of(place.db), set_as_current=False)
    with app, closing(app.stores.open_broker()) as broker:
        return broker.dead_letters()


def replace_body(place: Place, change: Callable[[bytes], bytes]) -> None:
    """Change what was signed in the message that waits in the queue."""
    envelope = json.loads(place.redis.rpop("celery"))
    signed = base64.b64decode(base64.b64decode(envelope["body"]))
    changed = change(signed)
    assert changed != signed
    envelope["body"] = base64.b64encode(base64.b64encode(changed)).decode()
    place.redis.lpush("celery", json.dumps(envelope))


# -- the same bytes ---------------------------------------------------------------------------------------------------

KOMBU = """
import base64, pickle, sys
import celery
from kombu import compression, serialization
values, names, methods = pickle.load(open("values", "rb"))
encoded = {}
for name in names:
    for index, value in enumerate(values):
        encoded[name, index] = serialization.dumps(value, serializer=name)
compressed = {method: [compression.compress(repr(value).encode(), method) for value in values] for method in methods}
pickle.dump((encoded, compressed), open("written", "wb"))
"""


@pytest.mark.parametrize("version", ["5.4", "5.7"])
def test_given_values_when_kombu_writes_them_then_ours_writes_the_same_bytes_and_reads_them(
    version: str, tmp_path: Path
) -> None:
    values = [*VALUES, b"", b"\xff\x00", (1, (2,)), [[]], {"": None}, 2**63, -(2**63), "\x00\u2028"]
    names, methods = ["yaml", "msgpack"], ["gzip", "bzip2", "lzma", "brotli", "zstd"]
    (tmp_path / "values").write_bytes(pickle.dumps((values, names, methods)))

    celery_environment(version).run(KOMBU, folder=tmp_path, variables={})

    encoded, compressed = pickle.loads((tmp_path / "written").read_bytes())
    for (name, index), (content_type, encoding, data) in encoded.items():
        theirs = data.encode() if isinstance(data, str) else data
        assert serializers.dumps(values[index], name) == (content_type, encoding, theirs)
        again = serializers.loads(theirs, content_type, encoding, [name])
        assert again == serializers.loads(serializers.dumps(values[index], name)[2], content_type, encoding, [name])
    for method, streams in compressed.items():
        for value, (data, content_type) in zip(values, streams, strict=True):
            assert compression.compress(b"", method)[1] == content_type
            assert compression.decompress(data, content_type) == repr(value).encode()
