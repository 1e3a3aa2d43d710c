"""Messages of the package in the words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from cleaner import cli
from cleaner.core import command_words
from cleaner.core.command_words import in_flags


@pytest.mark.parametrize(
    ("command", "text", "expected"),
    [
        ("scan", "start over with resume=False, or not", "start over with --no-resume, or not"),
        ("scan", "views=4 ranks many of them", "--views 4 ranks many of them"),
        ("scan", "batch_size is 0; pass more", "--batch-size is 0; pass more"),
        ("scan", "k is 0; pass more", "-k is 0; pass more"),
        ("scan", "leave out fast=True or features=True", "leave out --fast or --features"),
        ("scan", "add trust=True; you", "add --trust; you"),
        ("undo", "give trust=True if", "give --yes if"),
        ("apply", "give the folder: data=DIR", "give the folder: --data DIR"),
        ("apply", "was given trash='a b'", "was given --trash 'a b'"),
        ("serve", "pass root=DIR", "pass --data DIR"),
        ("apply", "review it first: cleaner.Review(scan)", "review it first: `cleaner serve SCAN`"),
        ("show", "first: scan = cleaner.scan(learn, out='scan')", "first: `cleaner scan`"),
        ("show", "cleaner.scan_folder(load(file), data)", "`cleaner scan --learner FILE --data DIR`"),
        ("scan", "the table's column 'batch_size' in 'data=1'", "the table's column 'batch_size' in 'data=1'"),
        ("scan", "the data is there; a=1, unknown=True", "the data is there; a=1, unknown=True"),
        ("apply", "train on the items that cleaner.cleaned returns", "train on the items that cleaner.cleaned returns"),
    ],
)
def test_arguments_become_flags_and_quoted_text_stays(command: str, text: str, expected: str) -> None:
    assert in_flags(text, command) == expected


def flags_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from flags_of(sub)


def test_every_flag_that_a_message_can_name_exists() -> None:
    known = set(flags_of(cli._parser()))
    named = {*command_words._FLAGS.values(), *(f for of in command_words._FLAGS_OF.values() for f in of.values())}
    assert named <= known
