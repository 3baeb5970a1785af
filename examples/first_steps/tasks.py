"""One module: the app with its broker and result store (both behind a password), and two tasks."""

from celery import Celery

app = Celery("tasks", broker="redis://:open-sesame@localhost:6379/0", backend="redis://:open-sesame@localhost:6379/0")


@app.task
def multiply(x: int, y: int) -> int:
    return x * y


@app.task
def greet() -> str:
    print("a guest is at the door")
    return "welcome"
