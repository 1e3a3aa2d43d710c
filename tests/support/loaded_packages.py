"""The packages that a new interpreter loads."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "torchvision", "fastai", "fastcore", "ray"}
SCREEN = {"ipywidgets", "anywidget", "traitlets", "voila", "IPython", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Return the packages that a new interpreter has loaded after `code`."""
    code = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
