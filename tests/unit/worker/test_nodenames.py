from __future__ import annotations

import pytest

from sedano.app.nodenames import default_nodename, gethostname, host_format, node_format, node_name
from sedano.exceptions import ImproperlyConfigured


def test_given_no_name_when_a_node_is_named_then_it_is_celery_at_the_host() -> None:
    assert node_name(None) == f"celery@{gethostname()}"


def test_given_a_bare_word_when_a_node_is_named_then_the_word_is_the_host() -> None:
    assert default_nodename("web1") == "celery@web1"
    assert default_nodename("mail@web1") == "mail@web1"
    assert default_nodename("mail@") == f"mail@{gethostname()}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w1@%h", "w1@web1.example.com"),
        ("w1@%n", "w1@web1"),
        ("w1@%d", "w1@example.com"),
        ("w1%i@x", "w10@x"),
        ("w1%I@x", "w1@x"),
        ("100%%@x", "100%@x"),
    ],
)
def test_given_codes_when_a_name_is_expanded_then_each_means_what_it_does_in_celery(text: str, expected: str) -> None:
    assert host_format(text, "web1.example.com") == expected


def test_given_a_file_name_when_it_is_expanded_then_n_is_the_name_and_i_the_process() -> None:
    assert node_format("/log/%n%I.log", "w1@web1.example.com") == "/log/w1.log"
    assert node_format("/log/%n%I.log", "w1@web1.example.com", index=3) == "/log/w1-3.log"
    assert node_format("/log/%p-%d.log", "w1@web1.example.com") == "/log/w1@web1.example.com-example.com.log"


def test_given_an_unknown_code_when_it_is_expanded_then_the_error_names_those_that_there_are() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"%x: there are %I, %d, %h"):
        host_format("w1@%x")
