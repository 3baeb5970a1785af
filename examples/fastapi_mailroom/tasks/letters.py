"""Letters: what may fail, and what is done about it."""

import time
from typing import Any

from celery_app import app


@app.task
def send_letter(to: str, text: str) -> dict[str, Any]:
    print(f"a letter to {to}")
    return {"to": to, "words": len(text.split())}


@app.task(bind=True, max_retries=3, default_retry_delay=60)
def ring(self: Any, door: int) -> str:
    """Nobody opens before the third time."""
    try:
        if self.request.retries < 2:
            raise ConnectionError(f"nobody opens door {door}")
    except ConnectionError as exc:
        raise self.retry(exc=exc, countdown=0.1) from exc
    return f"door {door} opened after {self.request.retries + 1} rings"


@app.task(
    bind=True,
    autoretry_for=(ConnectionError, TimeoutError),
    retry_kwargs={"max_retries": 2, "countdown": 5},
    retry_backoff=True,
    retry_backoff_max=1,
    retry_jitter=True,
)
def telegraph(self: Any, words: str) -> str:
    """The line is down at the first attempt."""
    if self.request.retries == 0:
        raise TimeoutError("the line is down")
    return words.upper()


@app.task
def lose(what: str) -> None:
    raise LookupError(f"{what} cannot be found")


@app.task
def complain(request: Any, exc: BaseException, traceback: Any) -> None:
    """An errback: called with the request that failed."""
    print(f"complaint about {request.id}: {exc}")


@app.task
def carry_far(seconds: float) -> str:
    """Long enough to be called back."""
    time.sleep(seconds)
    return "arrived"
