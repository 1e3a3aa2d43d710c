"""The command `cleaner`: parses the command line, calls one function and prints its result."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cleaner import __version__
from cleaner.core.command_words import in_flags
from cleaner.core.errors import CleanerError
from cleaner.core.terminal import printable, text_table

if TYPE_CHECKING:
    from cleaner.apply.plan import Changes
    from cleaner.apply.report import Report
    from cleaner.apply.trash import Trash
    from cleaner.core.records import Sample
    from cleaner.core.scan import Scan
    from cleaner.core.standing import Standing

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        the exit status: 0 done, 1 something could not be done, 2 wrong usage or bad input.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The terminal's encoding may lack a character of a file name.
            stream.reconfigure(errors="backslashreplace")
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")  # with the usage of the command
    run: Callable[[argparse.Namespace], int] = options.run
    with _logged_as(options.command):
        try:
            return run(options)
        except BrokenPipeError:
            _mute()
            return 1
        except ModuleNotFoundError as error:
            if error.name not in _LEFT_OUT:
                raise
            _warn(options.command, [f"{error.name} is needed and not installed: pip install image-label-cleaner"])
            return 2
        except (CleanerError, OSError) as error:
            _warn(options.command, [str(error)])
            return 2 if isinstance(error, CleanerError) else 1
        except KeyboardInterrupt:
            print(f"\ncleaner {options.command}: {_stopped_text(options)}", file=sys.stderr)
            return 130


# What an installation for a review server lacks; see docs/guide/review-server.md.
_LEFT_OUT = frozenset(("fastai", "fastcore", "matplotlib", "sklearn", "torch", "torchvision"))


def _stopped_text(options: argparse.Namespace) -> str:
    """Say what the same command does after Ctrl-C."""
    if options.command == "demo":
        return f"stopped; delete {options.dir!r} before you give the same command again"
    if getattr(options, "pred_probs", None) is not None:
        return "stopped; the same command starts over"
    if options.command in ("scan", "check"):
        again = "the same command without --no-resume" if options.no_resume else "the same command"
        return f"stopped; {again} goes on from the last checkpoint"
    if options.command in ("apply", "undo", "trash"):
        return "stopped; the same command does the rest"
    return "stopped"


@contextmanager
def _logged_as(command: str) -> Iterator[None]:
    """Print what the package logs as the warnings of a command."""
    handler, log = _Handler(command), logging.getLogger("cleaner")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, command: str) -> None:
        super().__init__(logging.WARNING)
        self._command = command

    def emit(self, record: logging.LogRecord) -> None:
        _warn(self._command, [record.getMessage()])


class _Parser(argparse.ArgumentParser):
    """A parser that escapes control characters in its errors, which can name any file."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="cleaner", description="Find wrong labels and bad images, review them, and clean the dataset."
    )
    parser.add_argument("--version", action="version", version=f"cleaner {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help="train, scan and review a small real dataset with known wrong labels"))
    _add_check(commands.add_parser("check", help="find bad images, copies and leaks between splits; needs no model"))
    _add_scan(commands.add_parser("scan", help="score images with an exported fastai learner, or rank predictions"))
    _add_show(commands.add_parser("show", help="print the highest losses of a scan"))
    columns = "scanned, found, changed, mean loss"
    _add_history(commands.add_parser("history", help=f"print the rounds of a scan folder: {columns}"))
    _add_serve(commands.add_parser("serve", help="serve the review of a scan as a web page"))
    _add_agreement(commands.add_parser("agreement", help="print how far the reviewers of a scan agree"))
    _add_export(commands.add_parser("export", help="write the current decisions, one row per path"))
    _add_apply(commands.add_parser("apply", help="apply the decisions to class folders, file names or a label table"))
    _add_undo(commands.add_parser("undo", help="undo an apply: move files back and restore the label table"))
    _add_trash(commands.add_parser("trash", help="list the files that an apply deleted, or remove them for good"))
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    photos_help = "photos of Imagenette, which fastai downloads with a resnet18 (150 MB), instead of handwritten digits"
    parser.add_argument("--photos", action="store_true", help=photos_help)
    parser.add_argument("--dir", default="cleaner-demo", help="folder to make (default: %(default)s)")
    parser.add_argument("--no-serve", action="store_true", help="stop after the scan")
    parser.add_argument("--port", type=int, default=8866, help="port of the page (default: %(default)s)")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from cleaner.demo import demo

    return demo(options.dir, photos=options.photos, serve=not options.no_serve, port=options.port)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR", help="the dataset's folder")
    out_help = "the scan folder to write; one with a scan of the same dataset keeps that"
    parser.add_argument("--out", required=True, metavar="SCAN", help=out_help)
    _add_table(parser)
    _add_input_size(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="number of processes that read images")
    parser.add_argument("--no-resume", action="store_true", help="start over instead of resuming a stopped check")
    parser.set_defaults(run=_check)


def _add_input_size(parser: argparse._ActionsContainer) -> None:
    size_help = "side of the learner's images in pixels, to list images that are much smaller"
    parser.add_argument("--input-size", type=int, metavar="PIXELS", help=size_help)


_OF_TABLE = ("labels", "path_column", "label_column")


def _check(options: argparse.Namespace) -> int:
    from cleaner.checks.run import check

    chosen = _chosen(options, (*_OF_TABLE, "input_size", "workers"))
    report = check(options.data, options.out, resume=not options.no_resume, **chosen)
    if rows := report.table():
        _say(text_table(("issue", "images", "groups"), rows))
    notes = [in_flags(note, options.command) for note in report.notes()]
    _say("\n".join([*notes, f"{report.summary()}: {options.out}"]))
    _say(f"Review them: {shlex.join(['cleaner', 'serve', options.out])}")
    return 0


def _add_scan(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--learner", metavar="FILE", help="a learner saved by learn.export()")
    source.add_argument("--pred-probs", metavar="FILE", help="predictions made elsewhere, an .npy [images, classes]")
    data_help = "the dataset's folder, or an address such as s3://bucket/images"
    parser.add_argument("--data", required=True, metavar="DIR", help=data_help)
    parser.add_argument("--out", required=True, metavar="SCAN", help="the scan folder to write")
    _add_table(parser)
    k_help = "samples to keep per split and class (default: auto, as many as make 100,000 in all, at least 100)"
    parser.add_argument("-k", type=_k, default="auto", metavar="K", help=k_help)
    old_help = "an earlier scan folder whose decisions are carried over"
    parser.add_argument("--decisions-from", metavar="OLD_SCAN", help=old_help)
    check_help = "find bad images, copies and leaks too, in a pass of its own after the scan; see cleaner check"
    parser.add_argument("--check", action="store_true", help=check_help)
    _add_input_size(parser)
    learner = parser.add_argument_group("with --learner")
    trust_help = "load the learner, which can run any code; needed once per file"
    learner.add_argument("--trust", action="store_true", help=trust_help)
    fast_help = "score in low precision, then the highest losses again in full precision"
    learner.add_argument("--fast", action="store_true", help=fast_help)
    features_help = "keep a feature map of each image, 16 KB with a resnet18, to find outliers and show nearest images"
    learner.add_argument("--features", action="store_true", help=features_help)
    views_help = "average the loss over N shifted copies of each image, 1 to 9: a memorised label has a high loss again"
    learner.add_argument("--views", type=int, metavar="N", help=views_help)
    learner.add_argument("--no-resume", action="store_true", help="start over instead of resuming a stopped scan")
    learner.add_argument("--workers", type=int, metavar="N", help="number of processes that read images")
    learner.add_argument("--batch-size", type=int, metavar="N", help="number of images scored at once")
    device_help = "where to score: cpu, cuda, cuda:1, mps, or auto, the accelerator if there is one (default: auto)"
    learner.add_argument("--device", metavar="NAME", help=device_help)
    learner.add_argument("--engine", choices=("local", "ray"), help="ray: scan on a Ray cluster (default: local)")
    cluster = parser.add_argument_group("with --engine ray")
    cluster.add_argument("--address", metavar="ADDR", help="a running cluster (default: start one on this machine)")
    cluster.add_argument("--num-workers", type=int, metavar="N", help="default: one per GPU, or one per core without")
    cluster.add_argument("--gpus-per-worker", type=float, metavar="G", help="0.5: two workers per GPU (default: 1)")
    predictions = parser.add_argument_group("with --pred-probs")
    vocab_help = "labels of the columns, one per line (default: the sorted labels)"
    predictions.add_argument("--vocab", metavar="FILE", help=vocab_help)
    predictions.add_argument("--split", help="name of the split that the images form (default: all)")
    predictions.add_argument("--ranked-by", choices=("loss", "margin"), help="score to rank by (default: loss)")
    parser.set_defaults(run=_scan)


def _k(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor 'auto'") from error


_WITH_RAY = ("address", "num_workers", "gpus_per_worker")
_WITH_LEARNER = (
    *("trust", "fast", "features", "views", "no_resume", "workers", "batch_size", "device", "engine"),
    *_WITH_RAY,
)
_WITH_PREDICTIONS = ("vocab", "split", "ranked_by")
_WITH_EACH = ("k", "labels", "path_column", "label_column", "decisions_from")


def _scan(options: argparse.Namespace) -> int:
    if not options.check:
        _check_unused(options, ("input_size",), "--check")
    elif options.input_size is not None and options.input_size < 1:
        raise CleanerError(f"--input-size is {options.input_size}; expected a whole number of at least 1")
    elif "://" in options.data:
        raise CleanerError(
            f"--check opens files, and {options.data!r} is an address; give a copy or mount of the images"
        )
    if options.pred_probs is None:
        _check_unused(options, _WITH_PREDICTIONS, "--pred-probs")
        status = _scan_learner(options)
    else:
        _check_unused(options, _WITH_LEARNER, "--learner")
        status = _scan_predictions(options)
    return status or (_check(options) if options.check else 0)


def _check_unused(options: argparse.Namespace, names: Iterable[str], required: str) -> None:
    given = [name for name in names if getattr(options, name) is not None and getattr(options, name) is not False]
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise CleanerError(f"{named} can be given only with {required}")


def _chosen(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _scan_learner(options: argparse.Namespace) -> int:
    from cleaner.core.suffixes import as_text
    from cleaner.scoring.learner_file import scan_file
    from cleaner.scoring.ray_cluster import Cluster

    engine: str | Cluster = options.engine or "local"
    if engine == "ray":
        engine = Cluster(options.address, options.num_workers, options.gpus_per_worker)
    else:
        _check_unused(options, _WITH_RAY, "--engine ray")
    result = scan_file(
        options.learner,
        options.data,
        options.out,
        resume=not options.no_resume,
        engine=engine,
        device=options.device or "auto",
        views=1 if options.views is None else options.views,
        **_chosen(options, (*_WITH_EACH, "trust", "fast", "features", "workers", "batch_size")),
    )
    left_out = f", left out {as_text(result.left_out)}" if result.left_out else ""
    scored, device = sum(result.scored.values()), result.settings["device"]
    _say(f"{scored} images scored on {device}, {len(result.unreadable)} unreadable{left_out}: {options.out}")
    data = " --data DIR, with a copy or mount of the images in DIR" if result.address else ""
    _say(f"Review them: {shlex.join(['cleaner', 'serve', options.out])}{data}")
    return 0


def _scan_predictions(options: argparse.Namespace) -> int:
    from cleaner.scoring.predictions import agreeing, missing_images, scan_prediction_files

    if options.labels is None:
        raise CleanerError("--pred-probs needs a table with the paths and labels; give --labels FILE")
    result = scan_prediction_files(
        options.pred_probs,
        data=options.data,
        out=options.out,
        vocab=options.vocab,
        split=options.split or "all",
        ranked_by=options.ranked_by or "loss",
        **_chosen(options, _WITH_EACH),
    )
    if missing := missing_images(result):
        warning = f"{len(missing)} of the images with the highest losses are missing in {options.data!r}"
        _warn(options.command, [f"{warning}: {missing[0]!r} …"])
    scored = sum(result.scored.values())
    _say(f"{scored} predictions ranked, {agreeing(result) / scored:.1%} of them are the label: {options.out}")
    _say(f"Review them: {shlex.join(['cleaner', 'serve', options.out])}")
    return 0


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.add_argument("--split", help="only this split")
    parser.add_argument("--label", help="only this label")
    parser.add_argument("-n", type=int, default=20, help="number of samples (default: %(default)s)")
    parser.add_argument("--undecided", action="store_true", help="only samples without a decision")
    parser.add_argument(
        "--estimate", action="store_true", help="print how many errors are found, and how many are left"
    )
    parser.add_argument("--issues", action="store_true", help="print what `cleaner check` found")
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from cleaner.core.manifest import Manifest
    from cleaner.core.scan import load

    scan = load(options.scan)
    manifest = Manifest(scan.manifest_path)
    _warn(options.command, [*manifest.warnings, *filter(None, [manifest.edited])])
    if options.estimate:
        _print_estimate(scan, options.split, options.label)
        return 0
    if options.issues:
        _print_issues(scan, options)
        return 0
    _print_worst(scan, options)
    return 0


def _print_worst(scan: Scan, options: argparse.Namespace) -> None:
    from cleaner.core.standing import standing_of

    scan.worst(options.n, options.split, options.label)  # refuses a number, split or label that cannot be
    standing = standing_of(scan)
    columns = _columns_of(scan, standing)
    ranked = scan.worst(None, options.split, options.label)
    samples = [each for each in ranked if not options.undecided or each.path not in standing][: options.n]
    _say(text_table(tuple(columns), [tuple(cell(sample) for cell in columns.values()) for sample in samples]))


def _decision_text(standing: Standing, path: str) -> str:
    """Return what stands about a file, and why an earlier decision does not, or when it was carried out."""
    decision = standing.get(path)
    what = f"{decision.action} {decision.new_label}".strip() if decision else ""
    return ", ".join(filter(None, [what, standing.note(path)]))


def _print_issues(scan: Scan, options: argparse.Namespace) -> None:
    from cleaner.core.issues import ISSUES

    wanted = [issue for issue in scan.issues if options.split in (None, issue.split)]
    rows = [issue for issue in wanted if options.label in (None, issue.label)][: options.n]
    header = ("issue", "group", "score", "split", "label", "path", "detail")
    cells = [
        (row.issue, row.group or "", f"{row.score:.3f}", row.split, row.label, row.path, row.detail) for row in rows
    ]
    _say(text_table(header, cells))
    is_checked = (Path(options.scan) / ISSUES.name).exists()
    none = "no issue was found" if is_checked else "not checked yet; `cleaner check` finds issues"
    _say(f"{len(rows)} of {len(scan.issues)} rows" if scan.issues else none)


def _print_estimate(scan: Scan, split: str | None, label: str | None) -> None:
    scan.worst(1, split, label)  # refuses a split or label that the scan does not have
    found = scan.estimate()
    header, *rows = found.table(split, label)
    _say(text_table(tuple(map(str, header)), rows))
    _say(found.summary() if (split, label) == (None, None) else f"The whole scan: {found.summary()}")


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.set_defaults(run=_history)


def _history(options: argparse.Namespace) -> int:
    from cleaner.core.rounds import history
    from cleaner.core.scan import load

    rows: list[tuple[object, ...]] = []
    for item in history(load(options.scan)):
        counts = (item.scanned, item.unreadable, item.found, item.changed)
        shares = (f"{item.mean_loss:.4f}", f"{item.predicted_otherwise:.1%}")
        rows.append((item.finished[:16].replace("T", " "), *counts, *shares))
    header = ("scanned on", "images", "unreadable", "found", "changed", "mean loss", "predicted otherwise")
    _say(text_table(header, rows))
    return 0


def _columns_of(scan: Scan, standing: Standing) -> dict[str, Callable[[Sample], object]]:
    """Return the columns that `show` prints, by name, each as a function of a sample."""
    from cleaner.core.tasks import MULTI_LABEL, OTHER

    columns: dict[str, Callable[[Sample], object]] = {
        "split": lambda sample: sample.split,
        "label": lambda sample: sample.label,
        "rank": lambda sample: sample.rank,
        scan.ranked_by: lambda sample: f"{sample.loss:.4f}",
        "given": lambda sample: ", ".join(sample.given) or "none",
        "predicted": lambda sample: sample.predicted or f"not {sample.label}",
        "confidence": lambda sample: f"{sample.confidence:.3f}",
        "decision": lambda sample: _decision_text(standing, sample.path),
        "path": lambda sample: sample.path,
    }
    hidden = {MULTI_LABEL: (), OTHER: ("label", "given", "predicted", "confidence")}.get(scan.task, ("given",))
    return {name: cell for name, cell in columns.items() if name not in hidden}


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.add_argument("--data", metavar="DIR", help="the dataset's folder, if it was moved since the scan")
    parser.add_argument("--port", type=int, default=8866, help="port to listen on (default: %(default)s)")
    parser.add_argument("--ip", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", help="secret part of the page's URL, at least 8 characters (default: random)")
    file_help = "a file with the secret, which other users of the machine then do not see in the list of processes"
    token.add_argument("--token-file", metavar="FILE", help=file_help)
    parser.add_argument("--theme", default="light", choices=("light", "dark"), help="default: %(default)s")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    visitors_help = (
        "maximum number of open pages (default: as many as fit in half of the free memory). Each page has a process "
        "of 70 MB, plus 57 MB per 100,000 rows of the scan"
    )
    parser.add_argument("--max-visitors", type=int, metavar="N", help=visitors_help)
    parser.add_argument("--blind", action="store_true", help="do not show a visitor what others decided")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from cleaner.review.serve import serve

    passed_on = _chosen(options, ("data", "port", "ip", "theme", "max_visitors", "blind"))
    token = options.token if options.token_file is None else _token_in(options.token_file)
    serve(options.scan, open_browser=not options.no_browser, token=token, **passed_on)
    return 0


def _token_in(file: str) -> str:
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CleanerError(f"the token cannot be read from {file!r} ({error}); give a text file with it") from error


def _add_agreement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.add_argument("-n", type=int, default=20, help="images on which they differ (default: %(default)s)")
    parser.set_defaults(run=_agreement)


def _agreement(options: argparse.Namespace) -> int:
    from cleaner.core.scan import load

    found = load(options.scan).agreement()
    if options.n < 0:
        raise CleanerError(f"-n is {options.n}; expected at least 0")
    if found.differing and options.n > 0:
        rows = [(path, *(said.get(name, "") for name in found.images)) for path, said in found.differing.items()]
        _say(text_table(("image", *(name or "somebody" for name in found.images)), rows[: options.n]))
    _say(found.summary())
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="SCAN", help="the scan folder, or its decisions.csv")
    parser.add_argument("--out", required=True, metavar="FILE", help="the CSV file to write")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from cleaner.apply.sources import manifest_of
    from cleaner.core.manifest import Manifest

    manifest = Manifest.existing(manifest_of(options.manifest))
    count = manifest.export(options.out)
    warnings = [*manifest.warnings, *filter(None, [manifest.edited])]
    _warn(options.command, warnings)
    _say(f"{count} decisions: {options.out}")
    return 1 if warnings else 0


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="SCAN", help="the scan folder, or its decisions.csv")
    parser.add_argument("--data", metavar="DIR", help="the dataset's folder (default: that of the scan)")
    _add_table(parser)
    parser.add_argument("--label-delim", metavar="D", help="separator of several labels in a cell of the table")
    pattern_help = "regular expression whose first group is the label in a file's name, as for fastai's from_name_re"
    parser.add_argument("--name-pattern", metavar="REGEX", help=pattern_help)
    trash_help = "folder for deleted files, on the dataset's file system (default: .cleaner-trash in the dataset)"
    parser.add_argument("--trash", metavar="DIR", help=trash_help)
    rule_help = "which decision stands where several reviewers decided (default: last)"
    parser.add_argument("--rule", choices=("last", "majority", "unanimous"), help=rule_help)
    parser.add_argument("--dry-run", action="store_true", help="print the changes without making them")
    accept_help = "apply a manifest from which other programs removed decisions, or whose rows they reordered"
    parser.add_argument("--accept-edited", action="store_true", help=accept_help)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=_apply)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", metavar="FILE", help="the label table, if a table holds the labels")
    parser.add_argument("--path-column", metavar="C", help="column of the paths (default: found by its name)")
    parser.add_argument("--label-column", metavar="C", help="column of the labels (default: found by its name)")


_OF_LABELS = (*_OF_TABLE, "label_delim", "name_pattern")


def _apply(options: argparse.Namespace) -> int:
    from cleaner.apply import apply
    from cleaner.apply.sources import manifest_of
    from cleaner.core.manifest import Manifest

    # Which decisions are current is uncertain in an edited manifest, so nothing is changed.
    is_doubtful = not options.accept_edited and bool(Manifest.existing(manifest_of(options.manifest)).edits)
    report = apply(
        options.manifest,
        dry_run=options.dry_run or is_doubtful,
        **_chosen(options, ("data", *_OF_LABELS, "trash", "rule", "accept_edited")),
    )
    _warn(options.command, (*report.warnings, *report.notes))
    if options.json:
        _say(json.dumps(_as_json(options.command, report)))
    else:
        verb = "changed" if options.labels else "moved"
        _print_report(options.command, report, f"would be {verb}" if report.is_dry_run else verb)
        if report.journal:
            _say(f"To take it back: {shlex.join(['cleaner', 'undo', str(report.journal)])}")
    return 1 if report.conflicts or report.warnings else 0


_JOURNAL_HELP = "the journal that `cleaner apply` printed, or the scan folder if it has one apply that is not undone"


def _add_undo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", metavar="JOURNAL", help=_JOURNAL_HELP)
    parser.add_argument("--yes", action="store_true", help="do not ask, even if another user wrote the journal")
    parser.set_defaults(run=_undo)


def _undo(options: argparse.Namespace) -> int:
    from cleaner.apply.execute import doubt, undo
    from cleaner.apply.sources import journal_of
    from cleaner.core.journal import TableJournal, read

    journal = journal_of(options.journal)
    doubts = doubt(journal)
    if doubts and not options.yes and not _confirmed(f"{doubts}. Undo it? "):
        _say("nothing was changed")
        return 1
    report = undo(journal, trust=bool(doubts))
    _warn(options.command, (*report.warnings, *report.notes))
    of_table = isinstance(read(journal), TableJournal)
    verb = "changed back" if of_table else "moved back"
    if of_table and report.changed:
        _say(f"{printable(str(report.changed))} was restored:")
    _print_report(options.command, report, verb)
    return 1 if report.conflicts or report.warnings else 0


def _add_trash(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", metavar="JOURNAL", help=_JOURNAL_HELP)
    parser.add_argument("--empty", action="store_true", help="remove the files for good, after a question")
    parser.add_argument("--yes", action="store_true", help="with --empty: do not ask")
    parser.set_defaults(run=_trash)


def _trash(options: argparse.Namespace) -> int:
    from cleaner.apply.trash import doubt, empty, trash

    present = trash(options.journal)
    _print_trash(present, "in the trash")
    if not options.empty or not present.files:
        return 1 if present.left else 0
    doubts = doubt(options.journal)
    question = f"Remove {len(present.files)} files for good? This cannot be undone. "
    if not options.yes and not _confirmed(f"{doubts}. {question}" if doubts else question):
        _say("nothing was removed")
        return 1
    removed = empty(options.journal, trust=bool(doubts))
    _warn(options.command, removed.notes)
    _print_trash(removed, "removed for good")
    return 1 if removed.left else 0


def _confirmed(question: str) -> bool:
    """Return whether the user types `yes`; raises `CleanerError` without a terminal."""
    if not sys.stdin.isatty():
        raise CleanerError(f"{printable(question)}There is no terminal to answer at; pass --yes to confirm")
    print(f"{printable(question)}Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"


def _print_trash(trash: Trash, verb: str) -> None:
    if trash.files:
        rows = [(move.file.size, move.target, trash.shown_path(move.source)) for move in trash.files]
        _say(text_table(("bytes", "from", "in the trash"), rows))
    _say(f"{len(trash.files)} files with {trash.size} bytes {verb}, {len(trash.left)} left alone")
    if trash.left:
        _say(text_table(("path", "left alone because"), [(item.path, item.reason) for item in trash.left]))


def _warn(command: str, warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"cleaner {command}: {printable(in_flags(warning, command))}", file=sys.stderr)


def _say(text: str) -> None:
    """Print lines of text; a reader that closes the pipe, such as `head`, does not change the exit status."""
    try:
        print("\n".join(map(printable, text.split("\n"))), flush=True)
    except BrokenPipeError:
        _mute()


def _mute() -> None:
    # Discards further output; otherwise Python reports an error when it flushes the closed pipe at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_report(command: str, report: Report, verb: str) -> None:
    from cleaner.apply.report import LABEL_PAIRS

    changes = report.planned if report.is_dry_run else report.done
    if shown := _shown(report, changes):
        columns = _ROWS if "path" in shown[0] else _FILES
        _say(text_table(tuple(columns.values()), [tuple(change[name] for name in columns) for change in shown]))
    if report.is_dry_run and report.label_changes:
        _say(text_table(LABEL_PAIRS, report.label_pairs()))
    _say(f"{len(shown)} {verb}, {len(report.conflicts)} in conflict")
    if report.conflicts:
        refused = [(each.action, each.path, in_flags(each.reason, command)) for each in report.conflicts]
        _say(text_table(("action", "path", "left alone because"), refused))


def _as_json(command: str, report: Report) -> dict[str, Any]:
    """Return the report of an apply for other programs; a `to` of None stands for deleted."""
    name, changes = ("planned", report.planned) if report.is_dry_run else ("done", report.done)
    pairs = [{"from": each.label, "to": each.new_label or None, "count": each.count} for each in report.label_changes]
    refused = [{**asdict(each), "reason": in_flags(each.reason, command)} for each in report.conflicts]
    journal = report.journal and str(report.journal)
    return {"journal": journal, name: _shown(report, changes), "summary": pairs, "conflicts": refused}


_FILES = {"action": "action", "source": "from", "target": "to"}
_ROWS = {"action": "action", "path": "path", "label": "label", "new_label": "new label"}


def _shown(report: Report, changes: Changes) -> list[dict[str, str]]:
    """Return the fields of changes that are printed."""
    shown = []
    for change in changes:
        names = ("source", "target") if hasattr(change, "target") else ("path", "label", "new_label")
        fields = {name: getattr(change, name) for name in (*names, "action", "decided_at")}
        paths = {name: report.shown_path(fields[name]) for name in ("source", "target") if name in fields}
        shown.append(fields | paths)
    return shown
