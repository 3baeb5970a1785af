# {{name}}

Tasks in `tasks.py`, a script that calls one in `send.py`, tests in `test_tasks.py`. No server is needed.

```console
$ pip install sedano pytest
$ sedano -A tasks worker -l info --reload
```

In another terminal:

```console
$ python send.py
$ sedano -A tasks call tasks.add -a '[4, 5]'
$ sedano -A tasks queues
$ python -m pytest
```

`--reload` starts the worker again when a file changes; leave it out where the work is real.
