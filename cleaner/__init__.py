"""Find wrong labels and bad images in a dataset, review them, and clean the dataset reversibly.

Three stages exchange only files: `scan` scores every image with a trained learner and keeps the highest losses of each
class in a scan folder, and `check` adds bad images and copies, for which it needs no learner; `Review` shows them and
writes decisions to a manifest; `apply` applies the manifest to the dataset and `undo` reverts that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# At once: the submodule's import then cannot replace the function later; see cleaner/apply/__init__.py.
from cleaner.apply import apply

if TYPE_CHECKING:
    from cleaner.apply.cleaned import cleaned
    from cleaner.apply.execute import undo
    from cleaner.checks.run import check
    from cleaner.core.errors import CleanerError
    from cleaner.core.manifest import Manifest
    from cleaner.core.scan import Scan, load
    from cleaner.interpret.interpretation import Interpretation
    from cleaner.review.app import Review
    from cleaner.scoring.api import scan, scan_folder, scan_model, scan_table
    from cleaner.scoring.folds import scan_folds
    from cleaner.scoring.predictions import scan_arrays, scan_chunks
    from cleaner.scoring.ray_cluster import Cluster
    from cleaner.scoring.training import LossRecorder
    from cleaner.scoring.training_callback import ScanCallback

__version__ = "0.1.0"

__all__ = [
    "CleanerError",
    "Cluster",
    "Interpretation",
    "LossRecorder",
    "Manifest",
    "Review",
    "Scan",
    "ScanCallback",
    "apply",
    "check",
    "cleaned",
    "load",
    "scan",
    "scan_arrays",
    "scan_chunks",
    "scan_folder",
    "scan_folds",
    "scan_model",
    "scan_table",
    "undo",
]

# Imported on first use, so that `import cleaner` loads no torch, fastai, pandas or ipywidgets.
_HOMES = {
    "CleanerError": "cleaner.core.errors",
    "Cluster": "cleaner.scoring.ray_cluster",
    "Interpretation": "cleaner.interpret.interpretation",
    "LossRecorder": "cleaner.scoring.training",
    "Manifest": "cleaner.core.manifest",
    "Review": "cleaner.review.app",
    "Scan": "cleaner.core.scan",
    "ScanCallback": "cleaner.scoring.training_callback",
    "check": "cleaner.checks.run",
    "cleaned": "cleaner.apply.cleaned",
    "load": "cleaner.core.scan",
    "scan": "cleaner.scoring.api",
    "scan_arrays": "cleaner.scoring.predictions",
    "scan_chunks": "cleaner.scoring.predictions",
    "scan_folder": "cleaner.scoring.api",
    "scan_folds": "cleaner.scoring.folds",
    "scan_model": "cleaner.scoring.api",
    "scan_table": "cleaner.scoring.api",
    "undo": "cleaner.apply.execute",
}


if not TYPE_CHECKING:
    # Type checkers read the imports above: with this function they would accept any name.
    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'cleaner' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
