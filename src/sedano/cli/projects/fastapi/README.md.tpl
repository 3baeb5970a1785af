# {{name}}

Tasks in `tasks.py`, a FastAPI application that sends calls in `web.py`, a test in `test_web.py`. No broker is needed to start.

```console
$ pip install sedano fastapi uvicorn pytest httpx
$ sedano -A tasks worker -l info --reload
```

In another terminal:

```console
$ python -m uvicorn web:web --reload
$ curl -X POST localhost:8000/additions -H 'content-type: application/json' -d '{"x": 2, "y": 3}'
$ curl localhost:8000/calls/ID
$ python -m pytest
```

`--reload` is for development; leave it out where the work is real.
