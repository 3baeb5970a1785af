"""Asking about a task: results, and waiting for them."""

from __future__ import annotations

from sedano.result.asyncresult import AsyncResult
from sedano.result.backend import Backend, DisabledBackend, ResultTerms, RpcBackend
from sedano.result.base import ResultBase, result_from_tuple
from sedano.result.blocking import allow_join_result, assert_will_not_block, denied_join_result, task_join_will_block
from sedano.result.eagerresult import EagerResult
from sedano.result.groups import GroupResult, bound_to
from sedano.result.sets import ResultSet
from sedano.result.waiting import ResultReader

__all__ = [
    "AsyncResult",
    "Backend",
    "DisabledBackend",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultReader",
    "ResultSet",
    "ResultTerms",
    "RpcBackend",
    "allow_join_result",
    "assert_will_not_block",
    "bound_to",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
]
