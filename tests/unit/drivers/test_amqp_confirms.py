"""Publisher confirms: answers in any order, some for many at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sedano.drivers.rabbitmq.confirms import Confirms

ANSWERS = st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.booleans(), st.integers(0, 3)), max_size=40)


@given(ANSWERS)
def test_given_any_answers_then_outstanding_and_refused_are_those_of_a_plain_set(
    answers: list[tuple[int, bool, bool, int]],
) -> None:
    confirms, open_numbers, refused = Confirms(), set[int](), list[int]()
    for number, multiple, taken, published in answers:
        for _ in range(published):
            open_numbers.add(confirms.add())
        if number > confirms.published or (not number and not multiple):
            continue  # a server does not say that
        confirms.answer(number, multiple=multiple, taken=taken)
        last = number or confirms.published
        meant = {one for one in open_numbers if (one <= last if multiple else one == last)}
        open_numbers -= meant
        refused += [] if taken else sorted(meant)
        assert confirms.outstanding == len(open_numbers)
        assert confirms.refused == refused
