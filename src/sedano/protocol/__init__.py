"""What the bytes say: messages, envelopes, control, results. Data <-> bytes; no clock, no socket.

    message      the message as data: body, content type, headers, properties
    envelope     Kombu's JSON form of a message, as Redis, sqlite and memory store it
    call         what a task message asks for; `build` (build.py) writes one
    body         the body of a message as a value
    serializers  json with Celery's typed values, pickle, raw, and what users register
    compression  zlib, bzip2, lzma, and what users register
    results      task meta records; errors: exceptions as maps; names: which class has which name on the wire
    control      remote control requests and replies
    queues       exchanges, queues and bindings as values
    saferepr     the bounded repr of `argsrepr`; ids: random identifiers

Everything that reads raises `UnreadableMessage` or one of its kinds (`DecodeError`, `ContentDisallowed`) for whatever bytes it
is given, and everything that writes raises `EncodeError`; the recordings in tests/interop/recordings hold both to Celery 5.7.
"""
