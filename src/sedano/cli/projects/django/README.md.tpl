# {{name}}

A Django project in `config/`, one app with tasks, views and a test in `work/`. No broker and no database is needed to start.

```console
$ pip install sedano django
$ sedano -A config worker -l info --reload
```

In another terminal:

```console
$ python manage.py runserver
$ curl -X POST localhost:8000/additions -H 'content-type: application/json' -d '{"x": 2, "y": 3}'
$ curl localhost:8000/calls/ID
$ python manage.py test
```

`--reload` is for development; leave it out where the work is real.
