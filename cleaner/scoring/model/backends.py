"""Faster backends, made from copies of a model, and the check that they give the same losses."""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cleaner.core.errors import CleanerError
from cleaner.scoring.data.reader import Dataset
from cleaner.scoring.model.threads import microbatch_size, run_microbatches

__all__ = ["EXACT", "FAST", "TOLERANCE", "Backend", "BackendSelector", "choose", "has_hooks", "make"]

TOLERANCE = 1e-4
"""Largest difference of a loss, in the loss's own unit, at which a backend counts as exact."""

# Images per thread: what lies between the layers stays in the cache of its core. In 8 bits twice as many fit.
_MICROBATCH, _MICROBATCH_8_BIT = 4, 8
# Images by which backends are timed on a GPU, and that show the value ranges inside a model.
_SAMPLE = 16
# Below this many seconds per image the model is not what a scan waits for.
_MIN_SECONDS_PER_IMAGE = 1e-3
# Trials end after this many seconds or runs.
_TRIAL_SECONDS, _MAX_RUNS = 0.1, 6
# A compiled model still optimizes itself in its first two runs.
_WARMUP_RUNS = 2
# A backend must take at most this share of the time: noise in a timing must not decide.
_CLEARLY_FASTER = 0.9

_log = logging.getLogger("cleaner")

Model = Callable[..., Any]
Losses = Callable[[Any, int], Tensor]
"""Returns the losses [n] of a model's output for the first `n` samples of a batch."""


class Backend(NamedTuple):
    """A way to run a model: its name in the log and in `scan.json`, and its time for the trial batch in seconds."""

    name: str
    model: Model
    seconds: float


class BackendSelector:
    """The backends selected for a model, shared by all splits.

    Attributes:
        names: name of the exact and the fast backend, by `"exact"` and `"fast"`. A name that is set is not chosen anew.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._models: dict[str, Model] = {}

    def select(
        self,
        model: nn.Module,
        inputs: Sequence[Tensor],
        losses: Losses,
        dataset: Dataset,
        to_inputs: Callable[[Any], Sequence[Any]],
        fast: bool,
    ) -> Model:
        """Return the quickest backend, or, unless `fast`, the quickest exact one.

        Args:
            model, inputs, losses: as in `choose`.
            dataset: the split; samples from all over it calibrate backends of lower precision.
            to_inputs: returns the model's inputs, and perhaps targets, for collated samples.
        """
        kind = "fast" if fast else "exact"
        if kind in self._models:
            return self._models[kind]
        if has_hooks(model):
            return model

        def spread() -> Sequence[Tensor]:
            data = dataset.spread_data()
            found = inputs if data is None else to_inputs(data)[: len(inputs)]
            return [x.as_subclass(Tensor).to(inputs[0].device) for x in found]

        if name := self.names.get(kind):
            self._models[kind] = make(name, model, spread() if name in FAST else inputs)
            return self._models[kind]
        try:
            backends = choose(model, inputs, losses, spread() if fast else None)
        except CleanerError:
            # The output does not fit. That is reported for the whole batch, unless a callback changes the output.
            return self._models.setdefault(kind, model)
        for each, backend in backends.items():
            if self.names.setdefault(each, backend.name) == backend.name:
                self._models[each] = backend.model
        return self._models[kind]


def choose(
    model: nn.Module, inputs: Sequence[Tensor], losses: Losses, spread: Sequence[Tensor] | None = None
) -> dict[str, Backend]:
    """Try backends of a model in evaluation mode; return the quickest `exact` one and, given `spread`, the `fast` one.

    A small model, or a backend that is hardly quicker, leaves it at plain: the last digits of a loss depend on the
    backend, and should not change from run to run.

    Args:
        inputs: a real batch, as the model takes it; on a CPU as many of its images are tried as are computed at once.
        losses: see `Losses`.
        spread: inputs from all over the data, by which backends of lower precision are calibrated.
    """
    n = _SAMPLE if inputs[0].is_cuda else _MICROBATCH * torch.get_num_threads()
    tried = [x[:n] for x in inputs]
    model(*(x[:2] for x in tried))  # what a process does once, such as loading the weights into memory
    output, seconds = _timed(model, tried)
    trial, plain = _Trial(model, tried, losses, losses(output, len(tried[0]))), Backend("plain", model, seconds)
    exact = fastest = plain
    if seconds >= _MIN_SECONDS_PER_IMAGE * len(tried[0]):
        quicker = (trial.quicker(plain, name, inputs, TOLERANCE) for name in EXACT)
        exact = fastest = next(filter(None, quicker), plain)
        for name in FAST if spread else ():
            # Beyond twice the speed, reading the images takes longer than the model.
            if fastest.seconds >= exact.seconds / 2:
                fastest = trial.quicker(fastest, name, spread or inputs, math.inf) or fastest
    return {"exact": exact, "fast": fastest} if spread else {"exact": exact}


def make(name: str, model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Make the backend `name`, a key of `EXACT` or `FAST`, from a copy of the model."""
    if name == "plain":
        return model
    if inputs[0].is_cuda and name in ("fused", "int8"):
        raise NotImplementedError("only for the CPU")
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.data = _channels_last(parameter.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces successors of its compilers, which are slower to start
        return {**EXACT, **FAST}[name](copied, inputs)


def has_hooks(model: nn.Module) -> bool:
    """Return whether a layer has hooks, which only the plain backend calls."""
    names = "_forward_hooks", "_forward_pre_hooks"
    return any(getattr(layer, name, None) for layer in model.modules() for name in names)


class _Trial(NamedTuple):
    """A model, the inputs on which its backends are tried, and the losses that they must give."""

    model: nn.Module
    inputs: Sequence[Tensor]
    losses: Losses
    expected: Tensor

    def quicker(self, other: Backend, name: str, examples: Sequence[Tensor], tolerance: float) -> Backend | None:
        """Return a backend if it can be made, gives the expected losses and is clearly faster than another one."""
        try:
            made = make(name, self.model, examples)
            output, seconds = _timed(made, self.inputs)
            found = self.losses(output, len(self.inputs[0]))
        except Exception as error:  # noqa: BLE001 - torch's compilers raise anything; plain remains
            _log.info("%s: not for this model (%s)", name, " ".join(f"{type(error).__name__}: {error}".split())[:200])
            return None
        # Equal infinities are no difference.
        difference = float(torch.where(found == self.expected, 0.0, (found - self.expected).abs()).max())
        if not difference <= tolerance:
            _log.warning("%s: losses differ by %.2g, more than %.0e; not used", name, difference, tolerance)
            return None
        theirs = other.seconds
        if theirs / 2 < seconds < 2 * theirs:  # too close to tell, as first runs are slow
            seconds = min(seconds, _timed(made, self.inputs)[1])
            theirs = min(theirs, _timed(other.model, self.inputs)[1])
        _log.info("%s: %.1f ms, %s: %.1f ms", name, seconds * 1e3, other.name, theirs * 1e3)
        return Backend(name, made, seconds) if seconds < _CLEARLY_FASTER * theirs else None


def _timed(model: Model, inputs: Sequence[Tensor]) -> tuple[Any, float]:
    """Return a model's output and its quickest time. On a GPU the first runs compile what the others run."""
    output, times = None, list[float]()
    min_runs = 1 + _WARMUP_RUNS if inputs[0].is_cuda else 1
    while len(times) < min_runs or (len(times) < _MAX_RUNS and sum(times) <= _TRIAL_SECONDS):
        start = time.perf_counter()
        output = model(*inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize(inputs[0].device)
        times.append(time.perf_counter() - start)
    return output, min(times)


def _one_layout(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Keep one memory layout through all convolutions."""
    return lambda *inputs: model(*map(_channels_last, inputs))


def _frozen(model: nn.Module, inputs: Sequence[Tensor], max_size: int = _MICROBATCH) -> Model:
    """Trace, freeze and fuse: batch normalization goes into the weights, activations into the convolutions."""
    example = tuple(_channels_last(x[: microbatch_size(len(x), max_size)]) for x in inputs)
    traced: Any = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    frozen = torch.jit.freeze(traced)
    any_layout = _one_layout(frozen, inputs)
    if inputs[0].is_cuda:
        return any_layout  # compiled for the batch size of its first run, not for that of the example
    for _ in range(_WARMUP_RUNS):
        frozen(*example)
    return run_microbatches(any_layout, max_size)


def _fused(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Trace, and join layers by oneDNN Graph for one batch size; a smaller last microbatch runs as traced."""
    before = torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]
    torch.jit.enable_onednn_fusion(True)
    try:
        return _frozen(model, inputs)
    finally:
        torch.jit.enable_onednn_fusion(before)


def _bfloat16(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Compute in 16 bits, which is fast where the processor multiplies them."""
    model.to(torch.bfloat16)
    return lambda *inputs: model(*(_channels_last(x).to(torch.bfloat16) for x in inputs)).float()


def _int8(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Compute in 8 bits, calibrated on the inputs, which is fast on processors with VNNI."""
    from torch.ao.quantization import MinMaxObserver, QConfig, default_per_channel_weight_observer
    from torch.ao.quantization import get_default_qconfig_mapping as mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    # Minimum and maximum: histograms take a second more, and had larger errors when measured.
    activations = MinMaxObserver.with_args(dtype=torch.quint8)
    config: Any = QConfig(activations, default_per_channel_weight_observer)  # type: ignore[no-untyped-call]
    examples = tuple(_channels_last(x[:_SAMPLE]) for x in inputs)
    # An 8-bit step of a logit is a tenth of a nat and more; the last layer takes no time, so it keeps its precision.
    layers = mapping("x86").set_global(config)
    for last in [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)][-1:]:
        layers = layers.set_module_name(last, None)
    prepared = prepare_fx(model, layers, examples)
    prepared(*examples)
    for module in prepared.modules():
        if type(module) is MinMaxObserver:
            # Leave room for values beyond those of a few images: a clipped one causes an error of some nats. The bit
            # that this costs is one that processors without VNNI cannot use, as their sums of products overflow.
            module.min_val.mul_(2)
            module.max_val.mul_(2)
    return _frozen(convert_fx(prepared), inputs, _MICROBATCH_8_BIT)


def _channels_last(x: Tensor) -> Tensor:
    """Return images or weights in the layout that 2-d convolutions read fastest."""
    plain = x.as_subclass(Tensor)
    return plain.contiguous(memory_format=torch.channels_last) if plain.dim() == 4 else plain


_Make = Callable[[nn.Module, Sequence[Tensor]], Model]
EXACT: dict[str, _Make] = {"fused": _fused, "traced": _frozen, "channels-last": _one_layout}
"""Backends that compute in the model's own precision, the most promising first."""
FAST: dict[str, _Make] = {"int8": _int8, "bfloat16": _bfloat16}
"""Backends of lower precision."""
