from __future__ import annotations

import pytest

from sedano.settings.names import advice, canonical


@pytest.mark.parametrize(
    ("key", "prefix", "expected"),
    [
        ("task_serialiser", "", "did you mean task_serializer?"),
        ("acks_late", "", "did you mean task_acks_late?"),
        ("time_zone", "", "did you mean timezone?"),
        ("BROKER_URI", "", "did you mean BROKER_URL, today broker_url?"),
        ("CELERY_BROKER_URL", "", "it takes effect with namespace='CELERY' only; here the name is broker_url."),
        ("CELERYD_MAX_TASK_PER_CHILD", "", "did you mean CELERYD_MAX_TASKS_PER_CHILD, today worker_max_tasks_per_child?"),
        (
            "CELERYD_MAX_TASK_PER_CHILD",
            "CELERY_",
            "did you mean CELERYD_MAX_TASKS_PER_CHILD, today worker_max_tasks_per_child?",
        ),
        ("CELERY_TASK_SERIALISER", "CELERY_", "did you mean CELERY_TASK_SERIALIZER?"),
        ("celery_task_serialiser", "celery_", "did you mean celery_task_serializer?"),
        # Names of people's own, and of other packages in the same module.
        ("my_setting", "", None),
        ("redbeat_redis_url", "", None),
        ("REDIS_HOST", "", None),
        ("DATABASE_URL", "", None),
        ("SECRET_KEY", "", None),
        ("CELERY_ONCE", "", None),
        ("CELERY_MY_OWN", "CELERY_", None),
        ("BROKER_URI", "CELERY_", None),
        ("INSTALLED_APPS", "CELERY_", None),
    ],
)
def test_given_an_unknown_name_when_advice_is_asked_then_only_what_looks_like_a_setting_gets_some(
    key: str, prefix: str, expected: str | None
) -> None:
    assert advice(key, prefix) == expected


@pytest.mark.parametrize(
    ("key", "prefix", "expected"),
    [
        ("task_serializer", "", "task_serializer"),
        ("CELERY_TASK_SERIALIZER", "", "task_serializer"),
        ("CELERY_TASK_ACKS_LATE", "CELERY_", "task_acks_late"),
        ("CELERY_TASK_ACKS_LATE", "", "CELERY_TASK_ACKS_LATE"),
        ("celery_task_acks_late", "celery_", "task_acks_late"),
        ("CELERY_task_acks_late", "CELERY_", "CELERY_task_acks_late"),
        ("unknown", "", "unknown"),
    ],
)
def test_given_a_spelling_when_made_canonical_then_it_is_todays_name_or_itself(key: str, prefix: str, expected: str) -> None:
    assert canonical(key, prefix) == expected
