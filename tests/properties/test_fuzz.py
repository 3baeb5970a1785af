"""The targets of `tests/fuzz` with Hypothesis; what fuzzers have found; bombs, in processes of bounded memory and time."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.bombs import BOMBS, FOUND
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
EXAMPLES = 5000 if os.environ.get("SEDANO_LONG") else 25


@pytest.mark.parametrize("target", TARGETS)
def test_given_a_whole_message_when_it_is_read_then_it_is_a_seed_worth_changing(target: str) -> None:
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_given_changed_bytes_when_a_decoder_reads_them_then_it_has_a_value_or_says_what_is_wrong(
    target: str, data: st.DataObject
) -> None:
    read, whole = TARGETS[target], seeds(target)
    read(data.draw(st.binary(max_size=200)))
    chance = random.Random(data.draw(st.integers(0, 2**64)))
    for _ in range(10):
        read(mutated(whole, chance))


@pytest.mark.parametrize(("target", "data"), [(target, data) for target, data, _ in FOUND], ids=[why for *_, why in FOUND])
def test_given_what_a_fuzzer_found_when_it_is_read_again_then_it_is_read_or_refused(target: str, data: bytes) -> None:
    TARGETS[target](data)


def test_given_bombs_when_they_are_read_then_time_and_memory_are_bounded() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.bombs"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    read = done.stdout.splitlines()
    assert done.returncode == 0, f"{read[-1:]} does not end well: {done.stderr[-2000:]}"
    assert len(read) == len(BOMBS)
