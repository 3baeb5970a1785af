"""A task with a name, a queue and limits of its own."""

from celery_app import app


@app.task(
    name="desk.stamp",
    queue="urgent",
    rate_limit="600/m",
    soft_time_limit=240,
    time_limit=300,
    ignore_result=False,
    acks_late=True,
)
def stamp(number: int) -> str:
    return f"stamped {number}"
