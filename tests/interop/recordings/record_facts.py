"""Writes facts-*.json: what real Kombu and Celery make of values that no message in the other recordings carries.

Run it with the interpreter of an environment that holds Celery: `python record_facts.py`. The tests read only its output.
Values are Python expressions, evaluated in a namespace of the names that `NAMESPACE` below holds.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import platform
import sys
import types
import uuid

HERE = pathlib.Path(__file__).parent


class Text(str): ...


class Whole(int): ...


class Real(float): ...


class Map(dict): ...


class Items(list): ...


class Frozen(frozenset): ...


class Raw(bytes): ...


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


class Plain(enum.Enum):
    A = 1


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Record:
    a: int = 1


class Jsonable:
    def __json__(self):
        return {"j": 1}


class Wrapped:
    def __json__(self):
        return [Jsonable(), decimal.Decimal("1.5")]


class NeverAsked(dict):
    def __json__(self):
        return "not asked: a dict is a dict"


class Moment(datetime.datetime):
    def __json__(self):
        return "mine"


def own_list():
    items = [1]
    items.append(items)
    return items


NAMESPACE = {
    "collections": collections,
    "datetime": datetime,
    "decimal": decimal,
    "fractions": fractions,
    "types": types,
    "uuid": uuid,
    "Text": Text,
    "Whole": Whole,
    "Real": Real,
    "Map": Map,
    "Items": Items,
    "Frozen": Frozen,
    "Raw": Raw,
    "Level": Level,
    "Colour": Colour,
    "Plain": Plain,
    "Pair": Pair,
    "Record": Record,
    "Jsonable": Jsonable,
    "Wrapped": Wrapped,
    "NeverAsked": NeverAsked,
    "Moment": Moment,
    "own_list": own_list,
    "Path": pathlib.PurePosixPath,
}

JSON_VALUES = """
None|True|0|-5|2**70|1.5|-0.0|1e22|1e-7|5e-324|1e400|float('nan')|-float('inf')|''|'é中\\u2028'|'\\ud800'|'"\\\\/\\n\\x00'
[]|()|{}|[1, [2, (3,)]]|{'a': {'b': [None]}}|Text('a')|Whole(5)|Real(1.5)|Map(a=1)|Items([1])|Level.LOW|Colour.RED|Plain.A
Pair(1, 2)|Record()|Jsonable()|Wrapped()|NeverAsked(a=1)|Moment(2020, 1, 1)|{1: 2}|{1.5: 2}|{None: 1}|{True: 1}
{(1, 2): 1}|{b'a': 1}|{Level.LOW: 1}|{Colour.RED: 1}|{float('nan'): 1}|{Text('k'): 1}|{1: 1, '1': 2}|{Plain.A: 1}
{1, 2}|frozenset()|bytearray(b'x')|memoryview(b'x')|b'abc'|b'\\xff\\x00'|b''|Raw(b'q')
datetime.datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)|datetime.datetime(2020, 1, 1)
datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=8)))|datetime.date(2020, 1, 2)
datetime.time(1, 2, tzinfo=datetime.timezone.utc)|datetime.time(1, 2, 3, 4)|datetime.timedelta(1)|datetime.timezone.utc
decimal.Decimal('NaN')|decimal.Decimal('1.50')|decimal.Decimal('1E+5')|fractions.Fraction(1, 2)|1j|Path('/x')|range(3)
uuid.UUID(int=5)|collections.OrderedDict(a=1)|collections.defaultdict(int, a=1)|collections.deque([1])|object()
types.MappingProxyType({'a': 1})|collections.UserDict(a=1)|ValueError('x')|own_list()|lambda: 1|(x for x in 'a')
{'__type__': 'datetime', '__value__': 'x'}|{'__type__': 1, '__value__': 2}|[{'__type__': 'bytes', '__value__': 'a'}]
"""

JSON_TEXTS = [
    '{"__type__":"datetime","__value__":"2020-01-02T03:04:05.678901+08:00"}',
    '{"__type__":"datetime","__value__":"2020-01-02"}',
    '{"__type__":"datetime","__value__":"x"}',
    '{"__value__":"2020-01-01T10:00:00","__type__":"date"}',
    '{"__type__":"date","__value__":"20200101"}',
    '{"__type__":"time","__value__":"03:04:05+00:00"}',
    '{"__type__":"decimal","__value__":1.5}',
    '{"__type__":"decimal","__value__":"1.50"}',
    '{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}',
    '{"__type__":"uuid","__value__":"x"}',
    '{"__type__":"base64","__value__":"/wA="}',
    '{"__type__":"base64","__value__":"/w!A="}',
    '{"__type__":"bytes","__value__":"é"}',
    '{"__type__":"bytes","__value__":"a","x":1}',
    '{"__type__":"bytes"}',
    '{"__type__":"nope","__value__":1}',
    '{"__type__":["a"],"__value__":1}',
    '{"\\u005f_type__":"bytes","__value__":"a"}',
    '[{"a":{"\\u005f\\u005ftype__":"bytes","__value__":"a"}}]',
    "NaN", "[-Infinity,Infinity]", "1e400", "-0", "-0.0", "1E5", "123456789012345678901234567890", '"\\ud800"',
    '"\\ud83d\\ude00"', "\ufeff1", '"\x01"', '"a\tb"', "[1,]", '{"a":1,"a":2}', "1 2", "", " [ ] ", "01", "1.", ".5", "+1",
    '"\\x"', '"\\/"', "{1:2}", "nul", "tru", "[[", "[" * 20 + "]" * 20,
]  # fmt: skip

REPR_VALUES = """
()|(2, 3)|(1,)|[]|{}|{'x': 2, 'y': 3}|('x' * 3000, {'k': ['é'] * 5})|("it's", '"', "a\\nb")|(b'abc', b'\\xff\\x00', b'')
(b'x' * 2000,)|(b'\\xff' * 2000,)|([1, [2, [3, [4]]]],)|{'a': {'b': {'c': {'d': 1}}}}|(set(), frozenset(), {1}, frozenset([1]))
(Frozen([1]), Frozen())|(Map(a=1), Items([1]), Pair(1, 2))|(Level.LOW, Colour.RED, Plain.A, True, None, 1j)
(decimal.Decimal('1.50'), uuid.UUID(int=5), datetime.date(2020, 1, 2))|(range(5), 1e300, float('nan'), -0.0)
([datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)], {'t': (1, 2)})|({(1, ('a' * 30,)): 1, None: 2},)
tuple(range(1000))|(['word ' * 300, 'after'],)|({'k' * 2000: 1},)|([[['x' * 1500]], 5],)|('a b ' * 400, 1, {'z': [1]})
'text'|5|None|b'x'|ValueError('a', 1)|("'" * 40,)|(Text("it's"), Whole(5), Real(1.5))
"""

EXCEPTION_VALUES = """
ValueError('boom', 42)|KeyError('k')|UnicodeDecodeError('utf-8', b'x', 0, 1, 'r')|OSError(2, 'no')|SystemExit(3)
ExceptionGroup('g', [ValueError(1)])|ValueError(Plain.A, 1)|ValueError({'a': 1}, (1, 2))
ce.Retry('m', exc=KeyError('x'), when=3)|ce.Reject('no', False)|ce.Ignore()|ce.MaxRetriesExceededError('x', task_args=(1,))
ce.SoftTimeLimitExceeded()|ce.TimeLimitExceeded(5)|ce.WorkerLostError('x')|ce.Terminated('t')|ce.NotRegistered('a')
ce.QueueNotFound('q')|ce.BackendError('e')|ce.BackendStoreError('m', task_id='1', state='S')|ce.TimeoutError('t')
ce.BackendGetMetaError('m', task_id='1')|ce.ChordError('c')|ce.TaskRevokedError('revoked')|ce.InvalidTaskError('i')
ce.AlreadyRegistered('a')|ce.IncompleteStream('a')|ce.ImproperlyConfigured('a')|ce.SecurityError('a')|ce.CeleryError('a')
ce.TaskError('a')|ce.TaskPredicate('a')|ce.WorkerShutdown(0)|ce.WorkerTerminate(1)|ke.OperationalError('o')
ke.EncodeError('e')|ke.DecodeError('d')|ke.ContentDisallowed('c')|ce.CDeprecationWarning('w')|ce.NotConfigured('w')
"""

QUEUE_VALUES = """
Exchange()|Exchange('m')|Exchange('m', 'topic', durable=False, delivery_mode='transient', arguments={'a': 1}, auto_delete=1)
Exchange('m', 'fanout', delivery_mode=2, no_declare=True, passive=True)|Exchange('m', delivery_mode='persistent', foo=1)
Exchange(None, type=None, durable=None)|Exchange('m', delivery_mode='odd')|Exchange('m').binding('r', {'a': 1})
binding()|binding(Exchange('m'), 'r', {'p': 1}, {'q': 2})|Queue()|Queue('a')|Queue('a', 'ex', 'k')
Queue('a', Exchange('m', 'topic'), routing_key='a.#', queue_arguments={'x': 1}, max_priority=5, expires=3, message_ttl='2.5')
Queue('a', exclusive=True, alias='al', no_ack=True, consumer_arguments={'c': 1}, binding_arguments={'b': 1}, max_length='7')
Queue('a', [binding(Exchange('m'), 'r')])|Queue('a', bindings=[binding(Exchange('m'), 'r')])
Queue('a', max_length_bytes=5, bogus=3, auto_delete=True)|Queue('a', durable=False, no_declare=1)
Queue('a', exchange=Exchange('m'), routing_key=None)
Queue('a', Exchange('m'), bindings=[binding(Exchange('x'), 'y')])|Queue.from_dict('n')|Queue.from_dict('n', bogus=1)
Queue.from_dict('n', exchange='e', exchange_type='topic', binding_key='b', routing_key='r')
Queue.from_dict('n', exchange='e', routing_key='r', durable=False, auto_delete=True)
Queue.from_dict('n', exchange='e', exchange_durable=True, durable=False, queue_auto_delete=True, delivery_mode='transient')
Queue.from_dict('n', exchange_arguments={'z': 1}, queue_arguments={'x': 1}, max_priority=3, alias='q', no_ack=True, expires=2)
Queue.from_dict('n', queue_durable=True, durable=False, exchange_auto_delete=True, binding_arguments={'y': 2})
Queue.from_dict('n', bindings=[binding(Exchange('m'), 'r')])
"""

EXCEPTION_MAPS = [
    {"exc_type": "ValueError", "exc_message": ["boom", 42], "exc_module": "builtins"},
    {"exc_type": "ValueError", "exc_message": "text", "exc_module": "builtins"},
    {"exc_type": "ValueError", "exc_module": "builtins"},
    {"exc_type": "Nope", "exc_message": ["a"], "exc_module": "not_loaded"},
    {"exc_type": "A.B", "exc_message": ["a"], "exc_module": "not_loaded"},
    {"exc_type": "Nope", "exc_message": ["a"], "exc_module": "builtins"},
    {"exc_type": "UnicodeDecodeError", "exc_message": ["a"], "exc_module": "builtins"},
    {"exc_type": "system", "exc_message": "rm", "exc_module": "os"},
    {"exc_type": "eval", "exc_message": ["1"], "exc_module": "builtins"},
    {"exc_type": "dict", "exc_message": [], "exc_module": "builtins"},
    {"exc_message": ["a"], "exc_module": "builtins"},
    {"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"},
    {"exc_type": "WorkerLostError", "exc_message": ["x"], "exc_module": "billiard.exceptions"},
    {"exc_type": "MaxRetriesExceededError", "exc_message": ["x"], "exc_module": "celery.exceptions"},
    {"exc_type": "OperationalError", "exc_message": ["x"], "exc_module": "kombu.exceptions"},
]


def expressions(block):
    return [text for line in block.strip().splitlines() for text in line.split("|")]


def outcome(make):
    """{"text": …} or {"error": class name}."""
    try:
        return {"text": make()}
    except Exception as exc:
        return {"error": type(exc).__name__}


def main():
    import celery  # noqa: PLC0415
    import celery.exceptions as ce  # noqa: PLC0415
    import kombu  # noqa: PLC0415
    import kombu.exceptions as ke  # noqa: PLC0415
    from celery.utils.saferepr import saferepr  # noqa: PLC0415
    from kombu import Exchange, Queue, binding  # noqa: PLC0415
    from kombu.utils import json as kombu_json  # noqa: PLC0415

    def evaluated(text):
        return eval(text, NAMESPACE | {"ce": ce, "ke": ke})

    backend = celery.Celery("facts", broker="memory://", backend="cache+memory://").backend

    def write(name, about, vectors):
        content = {
            "about": about,
            "how_made": "record_facts.py, which stands beside this file, run with real Celery",
            "versions": {"celery": celery.__version__, "kombu": kombu.__version__, "python": platform.python_version()},
            "vectors": vectors,
        }
        text = json.dumps(content, indent=1, ensure_ascii=True) + "\n"
        (HERE / f"facts-{name}.json").write_text(text, encoding="utf-8")

    write(
        "json",
        "kombu.utils.json.dumps of values and loads of texts",
        [{"dumps": text} | outcome(lambda text=text: kombu_json.dumps(evaluated(text))) for text in expressions(JSON_VALUES)]
        + [
            {"loads": text} | outcome(lambda text=text: repr(kombu_json.loads(text.encode("utf-8", "surrogatepass"))))
            for text in JSON_TEXTS
        ],
    )
    write(
        "saferepr",
        "celery.utils.saferepr.saferepr of values with some limits",
        [
            {"value": text, "maxlen": maxlen, "maxlevels": levels, "text": saferepr(evaluated(text), maxlen, levels)}
            for text in expressions(REPR_VALUES)
            for maxlen, levels in ((1024, 3), (None, 3), (40, 3), (13, 0), (100, 1))
            if not (maxlen is None and len(repr(evaluated(text))) > 1000)
        ],
    )
    write(
        "exceptions",
        "Backend.prepare_exception (json) of exceptions and exception_to_python of maps: [module, qualified name, repr]",
        [
            {"exception": text, "map": json.loads(kombu_json.dumps(backend.prepare_exception(evaluated(text))))}
            for text in expressions(EXCEPTION_VALUES)
        ]
        + [
            {"read": found} | outcome(lambda found=found: described(backend.exception_to_python(found)))
            for found in EXCEPTION_MAPS
        ],
    )

    names = {"Exchange": Exchange, "Queue": Queue, "binding": binding}
    write(
        "queues",
        "kombu.Exchange, Queue and binding: their maps, how they are shown, and to which earlier ones they are equal",
        described_queues(names),
    )


def described_queues(names):
    """One vector for each expression; shared with the test, which passes our classes."""
    made = [(text, eval(text, names)) for text in expressions(QUEUE_VALUES)]
    return [
        {
            "queue": text,
            "map": json.loads(json.dumps(entity.as_dict(recurse=True))),
            "repr": None if text == "binding()" else repr(entity),
            "equal": [earlier for earlier, other in made[:number] if other == entity],
        }
        for number, (text, entity) in enumerate(made)
    ]


def described(exc):
    return [type(exc).__module__, type(exc).__qualname__, repr(exc)]


if __name__ == "__main__":
    sys.exit(main())
