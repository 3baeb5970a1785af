"""The web application: python -m flask --app web run"""

from flask import Flask, request

from tasks import add, app

web = Flask(__name__)


@web.post("/additions")
def start() -> tuple[dict[str, str], int]:
    """Sends the call and does not wait for it."""
    addition = request.get_json()
    result = add.delay(int(addition["x"]), int(addition["y"]))
    return {"id": result.id}, 202


@web.get("/calls/<call_id>")
def show(call_id: str) -> dict[str, object]:
    """What has become of a call."""
    result = app.AsyncResult(call_id)
    return {"state": result.state, "result": result.result if result.successful() else None}
