"""The summary of a scan for a notebook: counts, the classes with the most errors, the worst images, the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleaner.core.errors import CleanerError
from cleaner.core.estimate import ClassEstimate, Estimate
from cleaner.core.markup import Markup, lines, table, thumbnails
from cleaner.core.records import ClassLosses, Sample

if TYPE_CHECKING:
    from cleaner.core.scan import Scan

__all__ = ["scan_html", "scan_text"]

_CLASSES, _IMAGES = 8, 10


def scan_text(scan: Scan) -> str:
    """Return a line about a scan."""
    counts = ", ".join(f"{split} {scan.scored[split]:,}" for split in scan.splits)
    unreadable = f", {len(scan.unreadable):,} unreadable" if scan.unreadable else ""
    where = "not written to a folder" if scan.folder is None else f"in {str(scan.folder)!r}"
    n_labels = len(scan.vocab)
    return (
        f"<Scan {where} of {scan.place!r}: images {counts}{unreadable}; {n_labels:,} label{'s' * (n_labels != 1)}, "
        f"ranked by {scan.ranked_by}>"
    )


def scan_html(scan: Scan) -> str:
    """Return the HTML of a scan."""
    counts = ", ".join(f"{split}: {scan.scored[split]:,} images" for split in scan.splits)
    unreadable = f"; {len(scan.unreadable):,} unreadable" if scan.unreadable else ""
    about = [f"Scan of {scan.place}", f"{counts}{unreadable}; ranked by {scan.ranked_by}"]
    estimate: Estimate | None = None
    if scan.folder is not None:
        try:
            estimate = scan.estimate()
        except (CleanerError, OSError) as error:  # a scan can be shown beside a damaged manifest
            about.append(str(error))
        else:
            about.append(estimate.summary())
    worst = scan.worst(_IMAGES) if scan.samples else []
    strip = thumbnails((scan.root / sample.path, _title(sample)) for sample in worst)
    return lines(about) + _classes(scan, estimate) + strip + lines([_next_step(scan)])


def _classes(scan: Scan, estimate: Estimate | None) -> Markup:
    """Return the classes with the largest share that is predicted otherwise."""
    classes = [losses for split in scan.splits for losses in scan.of_classes(split) if losses.scored]
    classes.sort(key=lambda losses: -losses.predicted_otherwise / losses.scored)
    known = {(each.split, each.label): each for each in estimate.classes} if estimate else {}
    header = ["split", "label", "images", "predicted otherwise", "decided", "changed", "audit wrong", "left"]
    rows = [_row(losses, known.get((losses.split, losses.label))) for losses in classes[:_CLASSES]]
    more = len(classes) - len(rows)
    return Markup(table(header, rows) + lines([f"and {more:,} more classes: scan.classes(split)"] if more > 0 else []))


def _row(losses: ClassLosses, found: ClassEstimate | None) -> tuple[object, ...]:
    share = f"{losses.predicted_otherwise / losses.scored:.1%}"
    decided: tuple[object, ...] = ("", "", "", "")
    if found is not None:
        left = found.left_text or "not audited"
        decided = found.decided, found.changed, f"{found.audited_wrong} of {found.audited}", left
    return losses.split, losses.label, f"{losses.scored:,}", share, *decided


def _title(sample: Sample) -> str:
    predicted = f", predicted {sample.predicted}" if sample.predicted else ""
    return f"{sample.path}: {sample.label}{predicted}, loss {sample.loss:.2f}"


def _next_step(scan: Scan) -> str:
    if scan.folder is None:
        return "Next: scan.write(folder), then cleaner.Review(folder)"
    return f"Next: cleaner.Review({str(scan.folder)!r}), or on the command line: cleaner serve {scan.folder}"
