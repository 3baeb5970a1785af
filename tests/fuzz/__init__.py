"""Decoders of what others write, fed with anything: a value, or a refusal that says why, in bounded time and memory.

    ./dev fuzz                 a minute for each target, guided by coverage (atheris, where there is one for this Python)
    ./dev fuzz 600 --target record

`targets` are the decoders with what each may raise, `seeds` what they are fed with first. `tests/properties/test_fuzz.py` runs
the same targets with Hypothesis in every test run; what a fuzzer has found stands there as a case of its own.
"""
