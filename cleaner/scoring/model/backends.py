"""Faster backends that run a model, and the check that they give the same losses.

Each backend is made from a copy: the caller's model keeps its mode, dtype, memory format and hooks.
"""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cleaner.scoring.model.threads import microbatch_size, run_microbatches

__all__ = ["EXACT", "FAST", "TOLERANCE", "Backend", "BackendSelector", "choose", "has_hooks", "load_compilers", "make"]

TOLERANCE = 1e-4
"""Largest difference of a loss, in the loss's own unit, at which a backend counts as exact."""

# Images per thread: what lies between the layers stays in the cache of its core. In 8 bits twice as many fit.
_MICROBATCH, _MICROBATCH_8_BIT = 4, 8
# Images by which backends are timed on a GPU, and that show the value ranges inside a model.
_SAMPLE = 16
# Below this many seconds per image the model is not what a scan waits for.
_MIN_SECONDS_PER_IMAGE = 1e-3
# Trials end after this many seconds.
_TRIAL_SECONDS = 0.1
# A compiled model still optimizes itself in its first two runs.
_WARMUP_RUNS = 2
# A backend must take at most this share of the time: noise in a timing must not decide.
_CLEARLY_FASTER = 0.9

_log = logging.getLogger("cleaner")

Model = Callable[..., Any]
Losses = Callable[[Any], Tensor]
"""Returns the loss of each sample from a model's output, which may be for the first samples of a batch only."""


@dataclass(frozen=True)
class Backend:
    """A way to run a model.

    Attributes:
        name: its name in the log and in `scan.json`.
        model: takes and returns what the original does.
        difference: largest difference of a loss from the original's, on the trial batch.
        seconds: time for the trial batch.
    """

    name: str
    model: Model
    difference: float = 0.0
    seconds: float = 0.0


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
        spread: Callable[[], Sequence[Tensor]],
        fast: bool,
    ) -> Model:
        """Return the quickest backend, or, unless `fast`, the quickest exact one.

        Args:
            model, inputs, losses: as in `choose`.
            spread: returns inputs from all over the data.
            fast: which backend.
        """
        kind = "fast" if fast else "exact"
        if kind not in self._models and kind in self.names:
            name = self.names[kind]
            self._models[kind] = make(name, model, spread() if name in FAST else inputs)
        if kind not in self._models:
            backends = choose(model, inputs, losses, TOLERANCE, spread() if fast else None)
            for each, backend in zip(("exact", "fast") if fast else ("exact",), backends, strict=False):
                self.names.setdefault(each, backend.name)
                self._models.setdefault(each, backend.model)
        return self._models[kind]


def choose(
    model: nn.Module,
    inputs: Sequence[Tensor],
    losses: Losses,
    tolerance: float,
    spread: Sequence[Tensor] | None = None,
) -> tuple[Backend, Backend]:
    """Try backends on real inputs; return the quickest exact one and the quickest of all.

    A backend that cannot be made of this model, or gives other losses, is left out with a line in the log. A very small
    model, or a backend that is hardly quicker, leaves it at plain: the last digits of a loss depend on the backend, and
    should not change from run to run.

    Args:
        model: the original, in evaluation mode.
        inputs: a real batch, as the model takes it; on a CPU as many of its images are tried as are computed at once.
        losses: see `Losses`.
        tolerance: largest difference of a loss of an exact backend.
        spread: inputs from all over the data, by which backends of lower precision are calibrated; None to try none of
            those: both backends are then the same.
    """
    n = _SAMPLE if inputs[0].is_cuda else _MICROBATCH * torch.get_num_threads()
    trial = [x[:n] for x in inputs]
    plain, expected = _plain(model, trial, losses)
    if plain.seconds < _MIN_SECONDS_PER_IMAGE * len(trial[0]):
        return plain, plain
    exact = plain
    for name in EXACT:  # from the most to the least promising
        backend = _try(name, model, inputs, trial, losses, expected, tolerance)
        if backend is not None and _clearly_faster(backend, plain, trial):
            exact = backend
            break
    fastest = exact
    for name in FAST if spread else ():
        backend = _try(name, model, spread or inputs, trial, losses, expected, math.inf)
        if backend is not None and _clearly_faster(backend, fastest, trial):
            fastest = backend
        if fastest.seconds < exact.seconds / 2:
            break  # from here on, reading the images takes longer than the model
    for backend in (exact, fastest):
        _log.info("%s: %.1f ms, plain: %.1f ms", backend.name, backend.seconds * 1e3, plain.seconds * 1e3)
    return exact, fastest


def make(name: str, model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Make the backend `name`, a key of `EXACT` or `FAST`, from a copy of the model."""
    if name == "plain":
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces successors of its compilers, which are slower to start
        return {**EXACT, **FAST}[name](copy.deepcopy(model), inputs)


def load_compilers() -> None:
    """Import what backends of lower precision are made with, which takes most of a second."""
    import torch.ao.quantization.quantize_fx  # noqa: F401


def has_hooks(model: nn.Module) -> bool:
    """Return whether a layer has hooks, which only the plain backend calls."""
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    return any(getattr(module, kind, None) for module in model.modules() for kind in kinds)


def _plain(model: nn.Module, inputs: Sequence[Tensor], losses: Losses) -> tuple[Backend, Tensor]:
    """Return the model as it is, and the losses expected of other backends."""
    model(*(x[:2] for x in inputs))  # what a process does once, such as loading the weights into memory
    output, seconds = _timed(model, inputs)
    return Backend("plain", model, 0.0, seconds), losses(output)


def _try(
    name: str,
    model: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[Tensor],
    losses: Losses,
    expected: Tensor,
    tolerance: float,
) -> Backend | None:
    """Make and time a backend; return None if it cannot be made or gives other losses."""
    try:
        made = make(name, model, examples)
        output, seconds = _timed(made, inputs)
        found = losses(output)
    except Exception as error:  # noqa: BLE001 - torch's compilers raise anything; plain remains
        _log.info("%s: not for this model (%s)", name, " ".join(f"{type(error).__name__}: {error}".split())[:200])
        return None
    # Equal infinities are no difference.
    difference = float(torch.where(found == expected, 0.0, (found - expected).abs()).max())
    if not difference <= tolerance:
        _log.warning("%s: losses differ by %.2g, more than %.0e; not used", name, difference, tolerance)
        return None
    return Backend(name, made, difference, seconds)


def _timed(model: Model, inputs: Sequence[Tensor]) -> tuple[Any, float]:
    """Return a model's output and its quickest time.

    On a CPU one run of a large model is enough. On a GPU the first runs compile and load what the others run.
    """
    output, times = None, list[float]()
    warmup = _WARMUP_RUNS if inputs[0].is_cuda else 0
    for _ in range(6):
        start = time.perf_counter()
        output = model(*inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize(inputs[0].device)
        times.append(time.perf_counter() - start)
        if sum(times) > _TRIAL_SECONDS and len(times) > warmup:
            break
    return output, min(times)


def _clearly_faster(backend: Backend, other: Backend, inputs: Sequence[Tensor]) -> bool:
    """Return whether a backend is faster by more than noise; close ones are timed again, as first runs are slow."""
    ours, theirs = backend.seconds, other.seconds
    if theirs / 2 < ours < 2 * theirs:
        ours, theirs = (min(each.seconds, _timed(each.model, inputs)[1]) for each in (backend, other))
    return ours < _CLEARLY_FASTER * theirs


def _channels_last(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Keep one memory layout through all convolutions."""
    _to_channels_last(model)
    return lambda *inputs: model(*map(_last, inputs))


def _traced(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Trace, freeze and fuse: batch normalization goes into the weights, activations into the convolutions."""
    _to_channels_last(model)
    return _frozen(model, inputs)


def _fused(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Trace, and join runs of layers by oneDNN Graph: a residual is added while it is in the cache.

    oneDNN Graph does so for one batch size; a smaller last microbatch runs as traced.
    """
    if inputs[0].is_cuda:
        raise NotImplementedError("oneDNN is for the CPU")
    _to_channels_last(model)
    before = torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]
    torch.jit.enable_onednn_fusion(True)
    try:
        return _frozen(model, inputs)
    finally:
        torch.jit.enable_onednn_fusion(before)


def _bfloat16(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Compute in 16 bits, which is fast where the processor multiplies them."""
    _to_channels_last(model.to(torch.bfloat16))
    return lambda *inputs: model(*(_last(x).to(torch.bfloat16) for x in inputs)).float()


def _int8(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Compute in 8 bits, calibrated on the inputs, which is fast on processors with VNNI."""
    from torch.ao.quantization import MinMaxObserver, QConfig, default_per_channel_weight_observer
    from torch.ao.quantization import get_default_qconfig_mapping as mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    if inputs[0].is_cuda:
        raise NotImplementedError("8-bit convolutions are for the CPU")
    # Minimum and maximum: histograms take a second more, and had larger errors when measured.
    weights = default_per_channel_weight_observer
    config: Any = QConfig(MinMaxObserver.with_args(dtype=torch.quint8), weights)  # type: ignore[no-untyped-call]
    examples = [_last(x[:_SAMPLE]) for x in inputs]
    # An 8-bit step of a logit is a tenth of a nat and more; the last layer takes no time, so it keeps its precision.
    layers = mapping("x86").set_global(config)
    for last in [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)][-1:]:
        layers = layers.set_module_name(last, None)
    prepared = prepare_fx(model, layers, tuple(examples))
    prepared(*examples)
    for observer in prepared.modules():
        if type(observer) is MinMaxObserver:
            # Leave room for values beyond those of a few images: a clipped one causes an error of some nats. The bit
            # that this costs is one that processors without VNNI cannot use, as their sums of products overflow.
            observer.min_val.mul_(2)
            observer.max_val.mul_(2)
    return _frozen(convert_fx(prepared), inputs, _MICROBATCH_8_BIT)


def _frozen(model: nn.Module, inputs: Sequence[Tensor], max_size: int = _MICROBATCH) -> Model:
    example = tuple(_last(x[: microbatch_size(len(x), max_size)]) for x in inputs)
    traced: Any = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    frozen = torch.jit.freeze(traced)

    def model_of_any_layout(*inputs: Tensor) -> Any:
        return frozen(*map(_last, inputs))

    if inputs[0].is_cuda:
        return model_of_any_layout  # compiled for the batch size of its first run, not for that of the example
    for _ in range(_WARMUP_RUNS):
        frozen(*example)
    return run_microbatches(model_of_any_layout, max_size)


def _to_channels_last(model: nn.Module) -> None:
    """Put the weights of 2-d convolutions into the layout that their kernels read fastest."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _last(x: Tensor) -> Tensor:
    plain = x.as_subclass(Tensor)
    return plain.contiguous(memory_format=torch.channels_last) if plain.dim() == 4 else plain


EXACT: dict[str, Callable[[nn.Module, Sequence[Tensor]], Model]] = {
    "fused": _fused,
    "traced": _traced,
    "channels-last": _channels_last,
}
"""Backends that compute in the model's own precision."""

FAST: dict[str, Callable[[nn.Module, Sequence[Tensor]], Model]] = {"int8": _int8, "bfloat16": _bfloat16}
"""Backends of lower precision."""
