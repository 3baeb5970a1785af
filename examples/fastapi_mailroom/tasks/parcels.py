"""Parcels: steps that hand on what they have."""

from celery_app import app


@app.task
def weigh(grams: int) -> int:
    return grams


@app.task
def wrap(grams: int) -> int:
    """Paper weighs 20 g."""
    return grams + 20


@app.task
def price(grams: int) -> str:
    return f"{grams / 100:.2f}"


@app.task
def load(weights: list[int]) -> int:
    """Everything into one cart."""
    return sum(weights)
