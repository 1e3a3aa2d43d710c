"""Keeps the features of samples while they are scored: the last feature map that the model computes for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional

from cleaner.core.errors import CleanerError
from cleaner.core.features import FeatureWriter
from cleaner.scoring.model.scorer import Arrays, Scored, Started

if TYPE_CHECKING:
    from cleaner.scoring.data.reader import PathBatch

__all__ = ["FeatureKeeper", "FeatureTap"]

Start = Callable[["PathBatch"], Started]

# Features keep where in the image something is, in so many rows and columns.
_SIDE = 4


class FeatureTap:
    """Takes the last feature map of each batch: the output [n, channels, height, width] of the last layer with one.

    A map of one pixel, such as that after a global pooling, is taken only where there is no larger one. The layer is
    found in the first batch; while a model is tapped only its plain backend runs, as others call no hooks.
    """

    def __init__(self) -> None:
        self._layer: nn.Module | None = None
        self._map: Tensor | None = None
        self._is_complete = False

    @contextmanager
    def tapping(self, model: nn.Module) -> Iterator[None]:
        """Tap a model; afterwards it is as it was, also after an error."""
        layers = list(model.modules()) if self._layer is None else [self._layer]
        hooks = [layer.register_forward_hook(self._see) for layer in layers]
        hooks.append(model.register_forward_hook(self._complete))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def take(self) -> Tensor:
        """Return the features of the batch that the model has computed last: floats [n, m] on its device.

        Of several runs with a batch, as over views, the first one counts.

        Raises:
            CleanerError: no layer returned a feature map.
        """
        found, self._map, self._is_complete = self._map, None, False
        if found is None:
            raise CleanerError(
                "no layer of the model returns a feature map [n, channels, height, width], so there are no features to "
                "keep; leave out features=True"
            )
        height, width = (min(_SIDE, length) for length in found.shape[2:])
        return functional.adaptive_avg_pool2d(found.float(), (height, width)).flatten(1)

    def _see(self, layer: nn.Module, _inputs: Any, output: Any) -> None:
        if self._is_complete or not isinstance(output, Tensor) or output.dim() != 4:
            return
        if self._map is None or _pixels(output) > 1 or _pixels(self._map) == 1:
            self._layer, self._map = layer, output.detach().as_subclass(Tensor)

    def _complete(self, _model: nn.Module, _inputs: Any, _output: Any) -> None:
        self._is_complete = True


class FeatureKeeper:
    """Writes the features of scored samples.

    Args:
        writer: where to.
    """

    def __init__(self, writer: FeatureWriter) -> None:
        self.writer = writer
        self._tap = FeatureTap()

    def tapping(self, model: nn.Module) -> AbstractContextManager[None]:
        """Tap a model, as `FeatureTap.tapping` does."""
        return self._tap.tapping(model)

    def keeping(self, start: Start) -> Start:
        """Return a function that starts a batch with a tapped model, and keeps its features when the results arrive."""

        def keep(paths: Sequence[str], record: Callable[[Arrays], Scored], arrays: Arrays) -> Scored:
            *results, features = arrays
            self.writer.append(paths, features)
            return record(results)

        def started(batch: PathBatch) -> Started:
            results, record = start(batch)
            return Started([*results, self._tap.take()], partial(keep, batch.paths, record))

        return started


def _pixels(features: Tensor) -> int:
    return features.shape[2] * features.shape[3]
