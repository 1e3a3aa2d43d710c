"""Validation of the messages on a kernel's web socket."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from cleaner.core.errors import CleanerError
from cleaner.review.frames import PROTOCOL, check_frame, offered_protocols

HEADER = json.dumps({"msg_id": "1", "msg_type": "comm_msg"}).encode()
PARTS = [HEADER, b"{}", b"{}", b"{}"]
GOOD: bytes = serialize_msg_to_ws_v1(PARTS, "shell")
COUNT = 7  # offsets in GOOD
NUMBERS = st.one_of(st.sampled_from([0, 1, 6, 8, 64, len(GOOD), 10**17, 2**31, 2**63, 2**64 - 1]), st.integers(0, 200))


def with_offsets(count: int, offsets: list[int], rest: bytes = b"") -> bytes:
    return struct.pack(f"<{1 + len(offsets)}Q", count, *offsets) + rest


@given(st.lists(st.binary(max_size=20), max_size=4), st.sampled_from(["shell", "control", ""]))
def test_messages_that_jupyter_writes_pass(buffers: list[bytes], channel: str) -> None:
    frame = serialize_msg_to_ws_v1([*PARTS, *buffers], channel)
    check_frame(frame)
    assert deserialize_msg_from_ws_v1(frame) == (channel, [*PARTS, *buffers])


@given(st.one_of(st.text(), st.binary(), st.builds(with_offsets, NUMBERS, st.lists(NUMBERS, max_size=9), st.binary())))
def test_arbitrary_bytes_are_refused(frame: bytes | str) -> None:
    with pytest.raises(CleanerError, match="Expected"):
        check_frame(frame)


@given(st.lists(NUMBERS, min_size=COUNT, max_size=COUNT), NUMBERS)
def test_a_frame_with_other_offsets_is_read_within_its_bounds_or_refused(offsets: list[int], count: int) -> None:
    frame = with_offsets(count, offsets, GOOD[8 * (COUNT + 1) :])
    try:
        check_frame(frame)
    except CleanerError:
        return
    assert offsets == sorted(offsets)
    assert deserialize_msg_from_ws_v1(frame)[1][0] == HEADER


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([b"{}", b"{}", b"{}", b"{}"], "message's type"),
        ([b'{"msg_type": 5}', b"{}", b"{}", b"{}"], "message's type"),
        ([b"[]", b"{}", b"{}", b"{}"], "header, got list"),
        ([HEADER, b"{}", b"null", b"{}"], "metadata, got NoneType"),
        ([HEADER, b"{}", b"{}", b"\xff"], "JSON"),
        ([HEADER, b"{}", b"{}", b"{"], "JSON"),
        ([HEADER, b"{}", b"{}", b"[" * 100_000], "JSON"),
        ([HEADER, b"{}", b"{}"], "6 offsets"),
    ],
)
def test_parts_that_are_not_json_objects_are_refused(parts: list[bytes], said: str) -> None:
    with pytest.raises(CleanerError, match=said):
        check_frame(serialize_msg_to_ws_v1(parts, "shell"))


def test_the_protocols_of_a_header_are_compared_as_a_whole() -> None:
    assert PROTOCOL in offered_protocols(f"other, {PROTOCOL}")
    for header in ("", "v1", f"{PROTOCOL}x"):
        assert PROTOCOL not in offered_protocols(header)
