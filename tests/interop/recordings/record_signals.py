"""Writes signals-5.7.json: which signals the processes of a real Celery hear, for calls of every kind.

Run it in the tests' own environment: `python record_signals.py`. It needs redis-server, and makes the environment with Celery
when there is none yet. The tests read only its output.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))


def main() -> None:
    from tests.interop import signalling  # noqa: PLC0415 - found by the line above
    from tests.interop.peers import engine  # noqa: PLC0415
    from tests.servers import RedisServer  # noqa: PLC0415

    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        of = engine("celery5.7")
        heard = {name: signalling.play(name, of, server, pathlib.Path(folder, name)) for name in signalling.PLAYS}
    text = json.dumps({"of": "celery 5.7 on redis", "plays": heard}, indent=1, sort_keys=True)
    (HERE / "signals-5.7.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
