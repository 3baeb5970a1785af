"""What a floor above is said of two engines with Redis between them, said again with RabbitMQ between them."""

from __future__ import annotations

import pytest
from tests.interop.test_calls import (
    test_given_a_call_when_it_runs_then_its_request_says_what_the_caller_said,
    test_given_a_result_when_read_again_by_its_id_then_all_of_it_is_there,
    test_given_a_task_known_by_name_only_when_sent_then_it_runs,
    test_given_a_task_that_calls_another_when_run_then_the_child_knows_root_and_parent,
    test_given_headers_of_ones_own_when_called_then_the_request_has_them,
    test_given_many_calls_at_once_when_collected_then_each_has_its_own_value,
    test_given_values_with_types_when_sent_as_json_then_they_keep_them_there_and_back,
    test_given_what_only_pickle_carries_when_sent_as_pickle_then_it_arrives_as_it_is,
)
from tests.interop.test_canvas import (
    test_given_workflows_of_one_engine_when_the_other_runs_them_then_they_give_what_they_should,
)
from tests.interop.test_commands import (
    test_given_a_task_when_called_by_command_then_its_result_is_shown_by_command,
    test_given_a_worker_when_pinged_by_the_other_engine_then_it_answers,
    test_given_a_worker_when_the_others_command_inspects_then_it_is_listed,
)
from tests.interop.test_failures import (
    test_given_a_task_that_nobody_has_when_called_then_the_caller_hears_not_registered,
    test_given_a_task_that_retries_too_often_when_it_gives_up_then_its_error_is_raised,
    test_given_a_task_that_retries_when_it_succeeds_at_last_then_the_same_result_tells,
    test_given_an_error_of_pythons_own_when_raised_then_the_caller_gets_it_with_its_arguments,
)
from tests.interop.test_states import (
    test_given_a_call_for_later_when_revoked_then_it_never_runs_and_the_caller_hears_it,
    test_given_a_running_call_when_revoked_with_terminate_then_it_ends_and_the_worker_goes_on,
    test_given_a_task_that_reports_when_it_runs_then_its_own_state_can_be_read,
)
from tests.interop.test_times import (
    test_given_a_time_limit_when_a_call_takes_longer_then_it_fails_with_the_limit,
    test_given_calls_for_later_when_sent_in_every_form_then_each_runs_when_it_is_due,
)

pytestmark = [pytest.mark.celery, pytest.mark.rabbitmq, pytest.mark.redis]

__all__ = [
    "test_given_a_call_for_later_when_revoked_then_it_never_runs_and_the_caller_hears_it",
    "test_given_a_call_when_it_runs_then_its_request_says_what_the_caller_said",
    "test_given_a_result_when_read_again_by_its_id_then_all_of_it_is_there",
    "test_given_a_running_call_when_revoked_with_terminate_then_it_ends_and_the_worker_goes_on",
    "test_given_a_task_known_by_name_only_when_sent_then_it_runs",
    "test_given_a_task_that_calls_another_when_run_then_the_child_knows_root_and_parent",
    "test_given_a_task_that_nobody_has_when_called_then_the_caller_hears_not_registered",
    "test_given_a_task_that_reports_when_it_runs_then_its_own_state_can_be_read",
    "test_given_a_task_that_retries_too_often_when_it_gives_up_then_its_error_is_raised",
    "test_given_a_task_that_retries_when_it_succeeds_at_last_then_the_same_result_tells",
    "test_given_a_task_when_called_by_command_then_its_result_is_shown_by_command",
    "test_given_a_time_limit_when_a_call_takes_longer_then_it_fails_with_the_limit",
    "test_given_a_worker_when_pinged_by_the_other_engine_then_it_answers",
    "test_given_a_worker_when_the_others_command_inspects_then_it_is_listed",
    "test_given_an_error_of_pythons_own_when_raised_then_the_caller_gets_it_with_its_arguments",
    "test_given_calls_for_later_when_sent_in_every_form_then_each_runs_when_it_is_due",
    "test_given_headers_of_ones_own_when_called_then_the_request_has_them",
    "test_given_many_calls_at_once_when_collected_then_each_has_its_own_value",
    "test_given_values_with_types_when_sent_as_json_then_they_keep_them_there_and_back",
    "test_given_what_only_pickle_carries_when_sent_as_pickle_then_it_arrives_as_it_is",
    "test_given_workflows_of_one_engine_when_the_other_runs_them_then_they_give_what_they_should",
]
