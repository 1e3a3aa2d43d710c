"""The table of messages: the app answers each kind, and the page has the same table."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from cleaner.core.errors import CleanerError
from cleaner.review.app import Review
from cleaner.review.protocol import MESSAGES, read_fields
from tests.support.messages import OF_PAGE


def test_each_message_has_a_handler_that_takes_its_fields() -> None:
    handlers = {name.removeprefix("_on_") for name in vars(Review) if name.startswith("_on_")}
    assert handlers == MESSAGES.keys()
    for kind, fields in MESSAGES.items():
        parameters = list(inspect.signature(getattr(Review, f"_on_{kind}")).parameters.values())[2:]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            assert not any(field.is_required for field in fields.values())
            continue
        required = {parameter.name: parameter.default is parameter.empty for parameter in parameters}
        assert required == {name: field.is_required for name, field in fields.items()}, kind


def test_the_messages_of_the_tests_are_of_all_kinds_with_all_fields() -> None:
    assert [
        message["kind"] for message in OF_PAGE if message.keys() - {"kind"} != MESSAGES[message["kind"]].keys()
    ] == []
    assert {message["kind"] for message in OF_PAGE} == MESSAGES.keys()


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"kind": "explode"}, "no message 'explode'"),
        ({"kind": "turn"}, "no field 'page'"),
        ({"kind": "turn", "page": True}, "page is True; expected a whole number"),
        ({"kind": "turn", "page": 1.0}, "page is 1.0"),
        ({"kind": "news", "page": 1}, "has the field 'page'; expected none"),
        ({"kind": "undo", "until": 1, "paths": []}, "has the field 'paths'; expected until"),
        ({"kind": "decide", "version": 1, "until": 1, "paths": "1.png", "action": "keep"}, "expected a list of texts"),
        (
            {"kind": "decide", "version": 1, "until": 1, "paths": [1], "action": "keep"},
            r"paths is \[1\]; expected a list",
        ),
        ({"kind": "decide", "version": 1, "until": 1, "paths": ["\ud800"], "action": "keep"}, "expected text in UTF-8"),
        ({"kind": "filter", "text": None}, "text is None; expected a text"),
        ({"kind": "reviewer", "name": "\ud800"}, "expected text in UTF-8"),
    ],
)
def test_a_message_with_other_fields_than_the_table_is_refused(message: dict[str, Any], error: str) -> None:
    with pytest.raises(CleanerError, match=error):
        read_fields({"id": 1, **message})


def test_fields_that_may_be_left_out_may_be_left_out() -> None:
    fields = {"version": 1, "until": 2, "paths": ["caf\udce9.png"], "action": "keep"}
    assert read_fields({"kind": "decide", "id": 1, **fields}) == fields
