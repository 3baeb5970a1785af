# {{name}}

Tasks in `tasks.py`, a Flask application that sends calls in `web.py`, a test in `test_web.py`. No broker is needed to start.

```console
$ pip install sedano flask pytest
$ sedano -A tasks worker -l info --reload
```

In another terminal:

```console
$ python -m flask --app web run --debug
$ curl -X POST localhost:5000/additions -H 'content-type: application/json' -d '{"x": 2, "y": 3}'
$ curl localhost:5000/calls/ID
$ python -m pytest
```

`--reload` and `--debug` are for development; leave them out where the work is real.
