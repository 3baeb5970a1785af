"""The app has a name of its own: `-A tasks` finds whichever app the module holds."""

from celery import Celery

parcel_app = Celery(
    "tasks",
    broker="redis://:open-sesame@localhost:6379/0",
    backend="redis://:open-sesame@localhost:6379/0",
)


@parcel_app.task
def weigh(grams: list[int]) -> int:
    print(f"{len(grams)} parcels on the scales")
    return sum(grams)
