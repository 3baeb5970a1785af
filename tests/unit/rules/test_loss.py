from __future__ import annotations

import pytest

from sedano.rules.loss import LossVerdict, judge


@pytest.mark.parametrize(
    ("begun", "early", "started", "deliveries", "reject", "verdict"),
    [
        (False, False, None, 0, None, LossVerdict.RELEASE),
        (False, False, None, 99, None, LossVerdict.RELEASE),
        (True, True, False, 0, None, LossVerdict.UNBEGIN),
        (True, False, False, 4, None, LossVerdict.UNBEGIN),
        (True, True, True, 0, None, LossVerdict.LOST),
        (True, True, None, 0, True, LossVerdict.LOST),
        (True, False, True, 0, None, LossVerdict.REDELIVER),
        (True, False, True, 0, True, LossVerdict.REDELIVER),
        (True, False, True, 0, False, LossVerdict.LOST),
        (True, False, None, 3, None, LossVerdict.REDELIVER),
        (True, False, True, 4, None, LossVerdict.POISON),
        (True, False, None, 7, True, LossVerdict.POISON),
    ],
)
def test_what_becomes_of_a_dead_owners_delivery(begun, early, started, deliveries, reject, verdict):
    assert (
        judge(
            begun=begun,
            early=early,
            started=started,
            deliveries=deliveries,
            max_deliveries=5,
            reject_on_worker_lost=reject,
        )
        is verdict
    )


def test_given_no_cap_then_a_late_call_is_redelivered_for_ever():
    assert judge(begun=True, early=False, started=True, deliveries=10**6, max_deliveries=0) is LossVerdict.REDELIVER


def test_given_early_ack_then_no_combination_gives_a_started_call_out_again():
    for started in (True, None):
        for deliveries in (0, 1, 10):
            for reject in (None, True, False):
                verdict = judge(
                    begun=True,
                    early=True,
                    started=started,
                    deliveries=deliveries,
                    max_deliveries=5,
                    reject_on_worker_lost=reject,
                )
                assert verdict is LossVerdict.LOST
