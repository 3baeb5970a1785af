from sedano.testing.worker import start_worker
from tasks import app
from web import web

app.conf.update(broker_url="memory://", result_backend="cache+memory://")


def test_an_addition_is_done_by_a_worker() -> None:
    with start_worker(app):
        client = web.test_client()
        sent = client.post("/additions", json={"x": 2, "y": 3})
        assert sent.status_code == 202
        call_id = sent.get_json()["id"]
        app.AsyncResult(call_id).get(timeout=60)
        assert client.get(f"/calls/{call_id}").get_json() == {"state": "SUCCESS", "result": 5}
