"""The command `cleaner`: parses, calls one function, prints."""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cleaner import __version__
from cleaner.core.errors import CleanerError
from cleaner.core.terminal import printable

if TYPE_CHECKING:
    from cleaner.apply.plan import Conflict
    from cleaner.apply.trash import Trash
    from cleaner.core.journal import Operation, RowChange
    from cleaner.core.records import Sample
    from cleaner.core.scan import Scan

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        the exit status: 0 done, 1 something could not be done, 2 wrong usage or bad input.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding does not have must not end the command.
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except BrokenPipeError:
        _mute()
        return 1
    except CleanerError as error:
        _warn(options.command, [str(error)])
        return 2
    except OSError as error:
        _warn(options.command, [str(error)])
        return 1
    except KeyboardInterrupt:
        print(f"\ncleaner {options.command}: stopped", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors can name files that a shell found, whatever they are called."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="cleaner", description="Find wrong labels and bad images, review them, and clean the dataset."
    )
    parser.add_argument("--version", action="version", version=f"cleaner {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_demo,
        _add_scan,
        _add_show,
        _add_history,
        _add_serve,
        _add_export,
        _add_apply,
        _add_undo,
        _add_trash,
    ):
        add(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="a small real dataset with known wrong labels, from training to review")
    parser.add_argument("--dir", default="cleaner-demo", help="folder to make (default: %(default)s)")
    parser.add_argument("--no-serve", action="store_true", help="end after the scan instead of serving the review")
    parser.add_argument("--port", type=int, default=8866, help="port of the page (default: %(default)s)")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from cleaner.demo import demo

    return demo(options.dir, serve=not options.no_serve, port=options.port)


def _add_scan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("scan", help="score images with an exported fastai learner, or rank predictions")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--learner", metavar="FILE", help="what learn.export() wrote")
    way.add_argument("--pred-probs", metavar="FILE", help="predictions made elsewhere, an .npy [images, classes]")
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset's folder, or an address such as s3://bucket/images"
    )
    parser.add_argument("--out", required=True, metavar="SCAN", help="the scan folder to write")
    _add_table(parser)
    parser.add_argument("-k", type=int, default=100, help="samples to keep of each class (default: %(default)s)")
    parser.add_argument(
        "--decisions-from",
        metavar="OLD_SCAN",
        help="take over the decisions of an earlier round in another scan folder",
    )
    learner = parser.add_argument_group("with --learner")
    learner.add_argument(
        "--trust", action="store_true", help="load the learner, which can run any code; once for each file"
    )
    learner.add_argument("--fast", action="store_true", help="lower precision first, then the highest losses in full")
    learner.add_argument("--no-resume", action="store_true", help="start over instead of going on with a stopped scan")
    learner.add_argument("--workers", type=int, metavar="N", help="processes that read images")
    learner.add_argument("--batch-size", type=int, metavar="N", help="images scored at once")
    learner.add_argument("--engine", choices=("local", "ray"), help="ray: spread over a cluster (default: local)")
    cluster = parser.add_argument_group("with --engine ray")
    cluster.add_argument("--address", metavar="ADDR", help="of a running cluster (default: start one on this machine)")
    cluster.add_argument("--num-workers", type=int, metavar="N", help="default: one a GPU, or else one a core")
    cluster.add_argument("--gpus-per-worker", type=float, metavar="G", help="0.5 for two workers a GPU (default: 1)")
    made = parser.add_argument_group("with --pred-probs")
    made.add_argument("--vocab", metavar="FILE", help="the label of each column, one a line (default: sorted)")
    made.add_argument("--split", help="what to call the images as a whole (default: all)")
    made.add_argument("--ranked-by", choices=("loss", "margin"), help="what the images are ranked by (default: loss)")
    parser.set_defaults(run=_scan)


_WITH_RAY = ("address", "num_workers", "gpus_per_worker")
_WITH_LEARNER = ("trust", "fast", "no_resume", "workers", "batch_size", "engine", *_WITH_RAY)
_WITH_PREDICTIONS = ("vocab", "split", "ranked_by")


def _scan(options: argparse.Namespace) -> int:
    if options.pred_probs is None:
        _check_unused(options, _WITH_PREDICTIONS, "--pred-probs")
        return _scan_learner(options)
    _check_unused(options, _WITH_LEARNER, "--learner")
    return _scan_predictions(options)


def _check_unused(options: argparse.Namespace, names: Iterable[str], way: str) -> None:
    given = [name for name in names if getattr(options, name) is not None and getattr(options, name) is not False]
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise CleanerError(f"{named} can be given only with {way}")


def _scan_learner(options: argparse.Namespace) -> int:
    from cleaner.core.suffixes import as_text
    from cleaner.scoring.learner_file import scan_file
    from cleaner.scoring.ray import Cluster

    engine: str | Cluster = options.engine or "local"
    if engine == "ray":
        engine = Cluster(options.address, options.num_workers, options.gpus_per_worker)
    else:
        _check_unused(options, _WITH_RAY, "--engine ray")
    result = scan_file(
        options.learner,
        options.data,
        options.out,
        k=options.k,
        trust=options.trust,
        fast=options.fast,
        resume=not options.no_resume,
        workers=options.workers,
        batch_size=options.batch_size,
        labels=options.labels,
        path_column=options.path_column,
        label_column=options.label_column,
        engine=engine,
        decisions_from=options.decisions_from,
    )
    left_out = f", left out {as_text(result.left_out)}" if result.left_out else ""
    _say(f"{sum(result.scored.values())} images scored, {len(result.unreadable)} unreadable{left_out}: {options.out}")
    there = " --data DIR, with a copy or mount of the images in DIR" if result.address else ""
    _say(f"Review them: {shlex.join(['cleaner', 'serve', options.out])}{there}")
    return 0


def _scan_predictions(options: argparse.Namespace) -> int:
    from cleaner.scoring.predictions import agreeing, missing_images, scan_prediction_files

    if options.labels is None:
        raise CleanerError("--pred-probs needs the labels and paths too; give their table with --labels FILE")
    result = scan_prediction_files(
        options.pred_probs,
        options.labels,
        options.data,
        options.out,
        k=options.k,
        path_column=options.path_column,
        label_column=options.label_column,
        vocab=options.vocab,
        split=options.split or "all",
        ranked_by=options.ranked_by or "loss",
        decisions_from=options.decisions_from,
    )
    if missing := missing_images(result):
        _warn(options.command, [f"of the worst images {len(missing)} are not in {options.data!r}: {missing[0]!r} …"])
    scored = sum(result.scored.values())
    _say(f"{scored} predictions ranked, {agreeing(result) / scored:.1%} of them are the label: {options.out}")
    _say(f"Review them: {shlex.join(['cleaner', 'serve', options.out])}")
    return 0


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("show", help="print the highest losses of a scan")
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.add_argument("--split", help="only this split")
    parser.add_argument("--label", help="only this label")
    parser.add_argument("-n", type=int, default=20, help="how many (default: %(default)s)")
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from cleaner.core.manifest import Manifest
    from cleaner.core.scan import load

    scan = load(options.scan)
    manifest = Manifest(scan.manifest_path)
    _warn(options.command, [*manifest.warnings, *filter(None, [manifest.edited])])
    columns = _columns_of(scan)
    samples = scan.worst(options.n, options.split, options.label)
    _say(_table(tuple(columns), [tuple(cell(sample) for cell in columns.values()) for sample in samples]))
    return 0


def _add_history(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "history", help="print the rounds of a scan folder: scanned, found, changed, mean loss"
    )
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.set_defaults(run=_history)


def _history(options: argparse.Namespace) -> int:
    from cleaner.core.rounds import history
    from cleaner.core.scan import load

    columns = ("scanned on", "images", "unreadable", "found", "changed", "mean loss", "predicted otherwise")
    rows = [
        (
            each.finished[:16].replace("T", " "),
            each.scanned,
            each.unreadable,
            each.found,
            each.changed,
            f"{each.mean_loss:.4f}",
            f"{each.predicted_otherwise:.1%}",
        )
        for each in history(load(options.scan))
    ]
    _say(_table(columns, rows))
    return 0


def _columns_of(scan: Scan) -> dict[str, Callable[[Sample], object]]:
    """What is shown of a sample, by the names of the columns."""
    from cleaner.core.tasks import MULTI_LABEL, OTHER

    columns: dict[str, Callable[[Sample], object]] = {
        "split": lambda sample: sample.split,
        "label": lambda sample: sample.label,
        "rank": lambda sample: sample.rank,
        scan.ranked_by: lambda sample: f"{sample.loss:.4f}",
        "given": lambda sample: ", ".join(sample.given) or "none",
        "predicted": lambda sample: sample.predicted or f"not {sample.label}",
        "confidence": lambda sample: f"{sample.confidence:.3f}",
        "path": lambda sample: sample.path,
    }
    left_out = {MULTI_LABEL: (), OTHER: ("label", "given", "predicted", "confidence")}.get(scan.task, ("given",))
    return {name: cell for name, cell in columns.items() if name not in left_out}


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="serve the review of a scan as a web page")
    parser.add_argument("scan", metavar="SCAN", help="the scan folder")
    parser.add_argument("--data", metavar="DIR", help="the dataset's folder, where it is not at the place of the scan")
    parser.add_argument("--port", type=int, default=8866, help="port to listen on (default: %(default)s)")
    parser.add_argument("--ip", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    parser.add_argument("--token", help="secret of the address, 8 characters or more; a random one by default")
    parser.add_argument("--theme", default="light", choices=("light", "dark"), help="default: %(default)s")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument(
        "--max-visitors",
        type=int,
        metavar="N",
        help="pages that may be open at once (default: as many as half of the free memory is enough for). Each has a "
        "process of its own: 70 MB, and 57 MB more per 100,000 rows of the scan",
    )
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from cleaner.review.serve import serve

    serve(
        options.scan,
        data=options.data,
        port=options.port,
        ip=options.ip,
        token=options.token,
        theme=options.theme,
        open_browser=not options.no_browser,
        max_visitors=options.max_visitors,
    )
    return 0


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("export", help="write the decisions that stand, one row a path")
    parser.add_argument("manifest", metavar="MANIFEST", help="the decisions.csv of a scan folder")
    parser.add_argument("--out", required=True, metavar="FILE", help="the CSV file to write")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from cleaner.core.manifest import Manifest

    manifest = Manifest.existing(options.manifest)
    count = manifest.export(options.out)
    warnings = [*manifest.warnings, *filter(None, [manifest.edited])]
    _warn(options.command, warnings)
    _say(f"{count} decisions: {options.out}")
    return 1 if warnings else 0


def _add_apply(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("apply", help="carry out the decisions on class folders, file names or a label table")
    parser.add_argument("manifest", metavar="MANIFEST", help="the decisions.csv of a scan folder")
    parser.add_argument("--data", required=True, metavar="DIR", help="the dataset's folder")
    _add_table(parser)
    parser.add_argument("--label-delim", metavar="D", help="what joins several labels in a cell of the table")
    parser.add_argument(
        "--name-pattern",
        metavar="REGEX",
        help="finds the label, its first group, in the names of the files, as it was given to fastai's from_name_re",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be done; change nothing")
    parser.add_argument(
        "--accept-edited",
        action="store_true",
        help="go on although decisions were removed from the manifest, or put into another order, outside of cleaner",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=_apply)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", metavar="FILE", help="the table with the labels, where they stand in one")
    parser.add_argument("--path-column", metavar="C", help="the table's column with the paths (default: by its name)")
    parser.add_argument("--label-column", metavar="C", help="the table's column with the labels (default: by its name)")


def _apply(options: argparse.Namespace) -> int:
    from cleaner.apply import apply
    from cleaner.apply.execute import plan
    from cleaner.core.manifest import Manifest

    table = (options.labels, options.path_column, options.label_column)
    places = {"label_delim": options.label_delim, "name_pattern": options.name_pattern}
    # What decisions stand is not sure in an edited manifest, so that nothing is moved by them.
    is_doubtful = not options.accept_edited and bool(Manifest.existing(options.manifest).edits)
    if options.dry_run or is_doubtful:
        planned = plan(options.manifest, options.data, *table, **places)
        _warn(options.command, (*planned.warnings, *planned.notes))
        _print_done(
            None,
            planned.operations,
            planned.conflicts,
            "would change" if options.labels else "would move",
            options.json,
        )
        return 1 if planned.conflicts or planned.warnings else 0
    report = apply(options.manifest, options.data, *table, **places, accept_edited=options.accept_edited)
    _warn(options.command, (*report.warnings, *report.notes))
    _print_done(report.journal, report.done, report.conflicts, "changed" if options.labels else "moved", options.json)
    if report.journal and not options.json:
        _say(f"To take it back: {shlex.join(['cleaner', 'undo', str(report.journal)])}")
    return 1 if report.conflicts or report.warnings else 0


def _add_undo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("undo", help="put everything back that an apply moved or changed")
    parser.add_argument("journal", metavar="JOURNAL", help="the journal that `cleaner apply` named")
    parser.add_argument("--yes", action="store_true", help="do not ask, also where you did not write the journal")
    parser.set_defaults(run=_undo)


def _undo(options: argparse.Namespace) -> int:
    from cleaner.apply.execute import doubt, undo
    from cleaner.core.journal import TableJournal, read

    asks = doubt(options.journal)
    if asks and not options.yes and not _agreed(f"{asks}. Undo it? "):
        _say("nothing was changed")
        return 1
    report = undo(options.journal, trust=bool(asks))
    _warn(options.command, (*report.warnings, *report.notes))
    of_table = isinstance(read(options.journal), TableJournal)
    verb = "changed back" if of_table else "moved back"
    if of_table and report.changed:
        _say(f"{printable(str(report.changed))} was put back:")
    _print_done(report.journal, report.done, report.conflicts, verb, as_json=False)
    return 1 if report.conflicts or report.warnings else 0


def _add_trash(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("trash", help="list what an apply put into the trash, or remove it for good")
    parser.add_argument("journal", metavar="JOURNAL", help="the journal that `cleaner apply` named")
    parser.add_argument("--empty", action="store_true", help="remove the files for good; asks first")
    parser.add_argument("--yes", action="store_true", help="with --empty: do not ask")
    parser.set_defaults(run=_trash)


def _trash(options: argparse.Namespace) -> int:
    from cleaner.apply.trash import doubt, empty, trash

    there = trash(options.journal)
    _print_trash(there, "in the trash")
    if not options.empty or not there.files:
        return 1 if there.left else 0
    asks = doubt(options.journal)
    question = f"Remove {len(there.files)} files for good? Nothing brings them back. "
    if not options.yes and not _agreed(f"{asks}. {question}" if asks else question):
        _say("nothing was removed")
        return 1
    gone = empty(options.journal, trust=bool(asks))
    _warn(options.command, gone.notes)
    _print_trash(gone, "removed for good")
    return 1 if gone.left else 0


def _agreed(question: str) -> bool:
    """Whether a person at the terminal types `yes`.

    Raises:
        CleanerError: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise CleanerError(f"{printable(question)}There is no terminal to ask at; give --yes if that is what you want")
    print(f"{printable(question)}Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"


def _print_trash(found: Trash, verb: str) -> None:
    if found.files:
        rows = [(each.file.size, each.source, each.path) for each in found.files]
        _say(_table(("bytes", "from", "in the trash"), rows))
    _say(f"{len(found.files)} files with {found.size} bytes {verb}, {len(found.left)} left alone")
    if found.left:
        _say(_table(("path", "left alone because"), [(each.path, each.reason) for each in found.left]))


def _warn(command: str, warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"cleaner {command}: {printable(warning)}", file=sys.stderr)


def _say(text: str) -> None:
    """Print to a reader that may go away, as `head` does; that ends neither the command nor changes its status.

    The text may have several lines; a line end that comes from a file must be escaped before.
    """
    try:
        print("\n".join(map(printable, text.split("\n"))), flush=True)
    except BrokenPipeError:
        _mute()


def _mute() -> None:
    # What is printed from here on goes nowhere; Python would complain when it empties the buffer at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_done(
    journal: Path | None,
    done: Iterable[Operation | RowChange],
    conflicts: Iterable[Conflict],
    verb: str,
    as_json: bool,
) -> None:
    shown = [_shown(each) for each in done]
    refused = [asdict(conflict) for conflict in conflicts]
    if as_json:
        _say(json.dumps({"journal": journal and str(journal), "done": shown, "conflicts": refused}))
        return
    if shown:
        columns = _ROWS if "path" in shown[0] else _FILES
        _say(_table(tuple(columns.values()), [tuple(each[name] for name in columns) for each in shown]))
    _say(f"{len(shown)} {verb}, {len(refused)} in conflict")
    if refused:
        _say(_table(("action", "path", "left alone because"), [(c["action"], c["path"], c["reason"]) for c in refused]))


_FILES = {"action": "action", "source": "from", "target": "to"}
_ROWS = {"action": "action", "path": "path", "label": "label", "new_label": "new label"}


def _shown(done: Operation | RowChange) -> dict[str, str]:
    names = ("source", "target") if hasattr(done, "target") else ("path", "label", "new_label")
    return {name: getattr(done, name) for name in (*names, "action", "decided_at")}


def _table(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """Columns of text; what would not print, such as a line end in a file name, is shown as an escape."""
    lines = [tuple(printable(str(cell)) for cell in row) for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
