"""The table of messages: the widgets answer each kind, and the page sends only these."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from cleaner.core.errors import CleanerError
from cleaner.review import protocol
from cleaner.review.channel import Channel
from cleaner.review.grid import Grid
from cleaner.review.overview import Overview

WIDGETS = [Grid, Overview]


@pytest.mark.parametrize("widget", WIDGETS)
def test_each_message_has_a_handler_that_takes_its_fields(widget: type[Channel]) -> None:
    handlers = {name.removeprefix("_on_") for name in vars(widget) if name.startswith("_on_")} - {"change"}
    assert handlers == widget.messages.keys()
    for kind, fields in widget.messages.items():
        parameters = list(inspect.signature(getattr(widget, f"_on_{kind}")).parameters.values())[2:]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            assert not any(field.is_required for field in fields.values())
            continue
        required = {parameter.name: parameter.default is parameter.empty for parameter in parameters}
        assert required == {name: field.is_required for name, field in fields.items()}, kind


@pytest.mark.parametrize("widget", WIDGETS)
def test_the_page_sends_only_known_messages(widget: type[Channel]) -> None:
    script = Path(inspect.getfile(widget)).with_suffix(".js").read_text(encoding="utf-8")
    sent = set(re.findall(r'\bask\("(\w+)"', script))
    assert sent
    assert sent <= widget.messages.keys()


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"kind": "explode"}, "no message 'explode'"),
        ({"kind": "turn"}, "no field 'page'"),
        ({"kind": "turn", "page": True}, "page is True; expected a whole number"),
        ({"kind": "turn", "page": 1.0}, "page is 1.0"),
        ({"kind": "ready", "page": 1}, "has the field 'page'; expected none"),
        ({"kind": "move", "by": 1, "extend": 1}, "extend is 1; expected true or false"),
        ({"kind": "filter", "text": None}, "text is None; expected a text"),
        ({"kind": "reviewer", "name": "\ud800"}, "expected text in UTF-8"),
    ],
)
def test_a_message_with_other_fields_than_the_table_is_refused(message: dict[str, Any], error: str) -> None:
    with pytest.raises(CleanerError, match=error):
        protocol.read_fields({"id": 1, **message}, protocol.GRID)


def test_fields_that_may_be_left_out_may_be_left_out() -> None:
    message = {"kind": "decide", "id": 1, "path": "caf\udce9.png", "action": "keep"}
    assert protocol.read_fields(message, protocol.GRID) == {"path": "caf\udce9.png", "action": "keep"}
