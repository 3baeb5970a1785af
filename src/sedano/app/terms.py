"""What sending and results need of the settings, as plain values: read once, and again when a setting changed."""

from __future__ import annotations

from typing import Any

import msgspec

from sedano.protocol.serializers import accept_types, adopt
from sedano.result import ResultTerms
from sedano.settings import Settings

_LONGEST_KEPT_S = 10 * 365 * 86400.0  # where results are kept for ever


class SendingTerms(msgspec.Struct, frozen=True):
    """`revision` is that of the settings they were read from."""

    revision: int
    always_eager: bool
    serializer: str
    compression: str | None
    protocol: int
    enable_utc: bool
    retry: bool
    retry_policy: dict[str, Any]
    repr_depth: int
    inherit_priority: bool
    workflow_max_bytes: int
    workflow_keep_s: float
    sent_event: bool


def sending_terms(conf: Settings) -> SendingTerms:
    adopt()
    revision = conf.revision
    return SendingTerms(
        revision=revision,
        always_eager=bool(conf.typed("task_always_eager")),
        serializer=conf.typed("task_serializer"),
        compression=conf.task_compression,
        protocol=int(conf.typed("task_protocol")),
        enable_utc=bool(conf.typed("enable_utc")),
        retry=bool(conf.typed("task_publish_retry")),
        retry_policy=conf.typed("task_publish_retry_policy"),
        repr_depth=int(conf.typed("task_repr_maxlevels")),
        inherit_priority=bool(conf.typed("task_inherit_parent_priority")),
        workflow_max_bytes=int(conf.typed("task_workflow_max_bytes")),
        workflow_keep_s=float(conf.typed("result_expires") or _LONGEST_KEPT_S),
        sent_event=bool(conf.typed("task_send_sent_event")),
    )


def result_terms(conf: Settings) -> ResultTerms:
    accept = conf.typed("result_accept_content") or conf.typed("accept_content")
    expires_s, failure_expires_s = conf.typed("result_expires"), conf.typed("result_failure_expires")
    return ResultTerms(
        serializer=conf.typed("result_serializer"),
        accept=accept_types(accept),
        compression=conf.result_compression,
        expires_s=expires_s or None,
        failure_expires_s=(expires_s if failure_expires_s is None else failure_expires_s) or None,
        extended=bool(conf.typed("result_extended")),
        chord_expires_s=conf.typed("result_chord_expires") or expires_s or 86400.0,
    )
