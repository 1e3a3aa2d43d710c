"""The words of the command line: messages of the package name Python's arguments, those of a command its flags."""

from __future__ import annotations

import re

__all__ = ["in_flags"]

_NAMES = """
    accept_edited address batch_size data decisions_from device engine fast features gpus_per_worker input_size ip
    label_column label_delim labels max_visitors name_pattern num_workers out path_column port pred_probs ranked_by
    rule split theme token trash views vocab workers
"""
_FLAGS = {name: f"--{name.replace('_', '-')}" for name in _NAMES.split()}
_FLAGS |= {"k": "-k", "n": "-n", "resume": "--no-resume", "root": "--data", "folder": "--dir"}
# Commands in which an argument has another flag.
_FLAGS_OF = {"undo": {"trust": "--yes"}, "trash": {"trust": "--yes"}, "scan": {"trust": "--trust"}}
_COMMANDS = {
    "Review": "cleaner serve SCAN",
    "apply": "cleaner apply SCAN",
    "check": "cleaner check",
    "scan": "cleaner scan",
    "scan_folder": "cleaner scan --learner FILE --data DIR",
    "scan_table": "cleaner scan --learner FILE --data DIR --labels FILE",
    "undo": "cleaner undo JOURNAL",
}
_QUOTED = r"""(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)"(?:[^"\\]|\\.)*\""""
_WORDS = re.compile(
    rf"(?P<call>(?:\w+ = )?\bcleaner\.(?P<function>{'|'.join(_COMMANDS)})\b(?:\((?:[^()]|\([^()]*\))*\))?)"
    rf"|(?P<name>\b[a-z_]+)=(?P<value>{_QUOTED}|[\w.-]*\w)?"
    rf"|(?P<quoted>{_QUOTED})"
    r"|(?P<subject>\A[a-z_]+)(?= is )"
    r"|(?P<word>\b[a-z]+(?:_[a-z]+)+\b)"
)


def in_flags(text: str, command: str) -> str:
    """Return a message with the flags of a command for the arguments that it names; quoted text stays."""
    flags = _FLAGS | _FLAGS_OF.get(command, {})

    def replaced(match: re.Match[str]) -> str:
        if match["call"]:
            return f"`{_COMMANDS[match['function']]}`"
        flag = flags.get(match["name"] or match["subject"] or match["word"] or "")
        if flag is None:
            return match[0]
        value = match["value"]
        return flag if value in (None, "True", "False") else f"{flag} {value}"

    return _WORDS.sub(replaced, text)
