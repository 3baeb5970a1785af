"""Redis as the result backend."""

from __future__ import annotations

from sedano.settings.option import Option

ROWS = (
    Option(
        "redis_backend_use_ssl",
        "dict",
        None,
        "Encrypt the connection to the results: True, or `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`.",
        old_names=("CELERY_REDIS_BACKEND_USE_SSL",),
        form="ssl",
    ),
    Option(
        "redis_db",
        "int",
        None,
        "The database, where `result_backend` is `redis` and no URL.",
        old_names=("CELERY_REDIS_DB",),
    ),
    Option(
        "redis_host",
        "string",
        None,
        "The host, where `result_backend` is `redis` or a URL that leaves it out.",
        old_names=("CELERY_REDIS_HOST",),
    ),
    Option(
        "redis_max_connections",
        "int",
        None,
        "How many connections to the results a process opens.",
        old_names=("CELERY_REDIS_MAX_CONNECTIONS",),
        effect="not needed: a process opens one to write and one to wait",
    ),
    Option(
        "redis_username",
        "string",
        None,
        "The user, where `result_backend` is `redis` or a URL that leaves it out.",
        old_names=("CELERY_REDIS_USERNAME",),
    ),
    Option(
        "redis_password",
        "string",
        None,
        "The password, where `result_backend` is `redis` or a URL that leaves it out.",
        old_names=("CELERY_REDIS_PASSWORD",),
    ),
    Option(
        "redis_port",
        "int",
        None,
        "The port, where `result_backend` is `redis` or a URL that leaves it out.",
        old_names=("CELERY_REDIS_PORT",),
    ),
    Option(
        "redis_socket_timeout",
        "float",
        120.0,
        "How long an answer of the results' server may take.",
        old_names=("CELERY_REDIS_SOCKET_TIMEOUT",),
        unit="s",
    ),
    Option(
        "redis_socket_connect_timeout",
        "float",
        None,
        "How long connecting to the results' server may take; unset, as `broker_connection_timeout`.",
        old_names=("CELERY_REDIS_SOCKET_CONNECT_TIMEOUT",),
        unit="s",
    ),
    Option(
        "redis_retry_on_timeout",
        "bool",
        False,
        "Ask again when an answer takes too long.",
        old_names=("CELERY_REDIS_RETRY_ON_TIMEOUT",),
        effect="not needed: every operation on the store can be repeated, and is",
    ),
    Option(
        "redis_socket_keepalive",
        "bool",
        False,
        "Keep idle connections to the results' server alive by TCP; unset, they are, as those to the broker.",
        old_names=("CELERY_REDIS_SOCKET_KEEPALIVE",),
    ),
)
