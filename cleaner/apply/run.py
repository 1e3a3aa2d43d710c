"""From the arguments of `cleaner.apply` to an apply or a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleaner.apply.execute import carry_out, dry_run
from cleaner.apply.options import LabelOptions
from cleaner.apply.report import Report
from cleaner.apply.sources import data_of, manifest_of
from cleaner.core.errors import CleanerError
from cleaner.core.scan_header import read_scan_header

__all__ = ["run_apply"]


def run_apply(source: Any, given: Mapping[str, Any], accept_edited: bool, is_dry_run: bool) -> Report:
    """Apply the decisions of `source`; `given` has the arguments of `cleaner.apply` that `LabelOptions` takes."""
    manifest = manifest_of(source)
    if isinstance(source, Report):
        options = _options_of(source, given)
    else:
        data = data_of(source, given["data"])
        known = {name: value for name, value in given.items() if value is not None}
        options = LabelOptions(**{**known, "data": _scanned_folder(manifest) if data is None else data})
    if is_dry_run:
        return dry_run(manifest, options)
    shown = source if isinstance(source, Report) and source.is_dry_run else None
    return carry_out(manifest, options, accept_edited, shown)


def _options_of(report: Report, given: Mapping[str, Any]) -> LabelOptions:
    names = [f"{name}=" for name, value in given.items() if value is not None]
    if names or report.options is None:
        raise CleanerError(
            f"got a report and {', '.join(names) or 'nothing else'}; a report brings these arguments with it. Pass the "
            "scan to give others"
        )
    return report.options


def _scanned_folder(manifest: Path) -> Path:
    """Return the folder that the scan beside a manifest is of."""
    header = read_scan_header(manifest.parent)
    if header is None:
        raise CleanerError(f"no scan beside {str(manifest)!r} says where the dataset is; give its folder: data=DIR")
    if header.address or not header.root.is_dir():
        reason = "an address" if header.address else "not there"
        raise CleanerError(
            f"the images were scanned in {header.location!r}, which is {reason}; give the dataset's folder: data=DIR"
        )
    return header.root
