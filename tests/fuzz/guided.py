"""One target, guided by coverage: `python -m tests.fuzz.guided TARGET SECONDS FOLDER`. Needs atheris.

Never returns: what it finds stands in FOLDER/crash-*, timeout-* or oom-*, and the process ends with another status than 0.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

MEMORY_MIB = 1024
LONGEST_S = 20  # for one input, on a machine that has other things to do
LONGEST_BYTES = 20_000


def main(target: str, seconds: str, folder: Path) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["sedano", "yaml", "json"]):
        seeds = importlib.import_module("tests.fuzz.seeds")
        targets = importlib.import_module("tests.fuzz.targets")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds.seeds(target)):
        (corpus / str(number)).write_bytes(seed)
    words = ("".join(f"\\x{byte:02x}" for byte in token) for token in seeds.TOKENS if len(token) < 100)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words))
    options = [
        f"-max_total_time={seconds}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MEMORY_MIB}", f"-max_len={LONGEST_BYTES}",
        f"-dict={folder / 'words'}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
