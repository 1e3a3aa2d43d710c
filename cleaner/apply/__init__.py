"""Carry out a manifest on a dataset so that it can be undone; needs neither the model nor the review app.

The package can itself be called: `cleaner.apply(manifest, data)` is `cleaner.apply.execute.apply(manifest, data)`. That
is what the name means to its users, and importing the package sets the attribute `apply` of `cleaner` to this module.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from cleaner.apply.execute import apply

        return apply(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
