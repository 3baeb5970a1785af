import json

from config import app
from django.test import SimpleTestCase

from sedano.testing.worker import start_worker

app.conf.update(broker_url="memory://", result_backend="cache+memory://")


class AdditionTest(SimpleTestCase):
    def test_an_addition_is_done_by_a_worker(self) -> None:
        with start_worker(app):
            sent = self.client.post("/additions", json.dumps({"x": 2, "y": 3}), content_type="application/json")
            self.assertEqual(sent.status_code, 202)
            call_id = sent.json()["id"]
            app.AsyncResult(call_id).get(timeout=60)
            self.assertEqual(self.client.get(f"/calls/{call_id}").json(), {"state": "SUCCESS", "result": 5})
