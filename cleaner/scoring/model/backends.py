"""The faster ways to run a model, and the proof that they give the same answer.

Every way is made from a copy, so that the caller's model keeps its mode, dtype, memory format and hooks.
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

from cleaner.scoring.in_parts import in_parts, part_size

__all__ = ["EXACT", "FAST", "TOLERANCE", "Chosen", "Way", "choose", "has_hooks", "load_compilers", "make"]

TOLERANCE = 1e-4
"""Largest difference of a loss, in the loss's own unit, at which a way counts as the same."""

# Images that a thread computes at once, at most: what lies between the layers stays in the cache of its core.
_AT_ONCE = 4
# In 8 bits twice as many fit.
_AT_ONCE_IN_8_BITS = 8
# Images that a GPU is timed by, and that show in what ranges the values between the layers lie.
_SOME = 16
# A model that takes fewer seconds than this an image is not what a scan waits for.
_WORTH_IT = 1e-3
# Seconds of trying after which what was timed will do.
_LONG_ENOUGH = 0.1
# A compiled model does its last optimizations in its first two runs; in the second of them layers are put together.
_WARM = 2
# The part of the time that a way must take at most to be taken: noise in a timing must not decide.
_CLEARLY = 0.9

_log = logging.getLogger("cleaner")

Model = Callable[..., Any]


@dataclass(frozen=True)
class Way:
    """A way to run a model.

    Attributes:
        name: what it is called in the log and in `scan.json`.
        model: takes what the original takes and gives what it gives.
        difference: largest difference of a loss from the original's, on the batch that was tried.
        seconds: time for that batch.
    """

    name: str
    model: Model
    difference: float = 0.0
    seconds: float = 0.0


def choose(
    model: nn.Module,
    inputs: Sequence[Tensor],
    losses: Callable[[Any], Tensor],
    tolerance: float,
    spread: Sequence[Tensor] | None = None,
) -> tuple[Way, Way]:
    """Try ways on real inputs: the quickest whose losses differ by at most `tolerance`, and the quickest of all.

    A way that cannot be made of this model, or gives other losses, is left out with a line in the log. A model that
    takes almost no time, or a way that is hardly quicker, leaves it at plain: the last digits of a loss depend on the
    way, and should not change from run to run.

    Args:
        model: the original, in evaluation mode.
        inputs: a real batch, as the model takes it; on a CPU, as many of its images are tried as are computed at once.
        losses: gives the loss of each sample from what the model returns, which may be for the first samples only.
        tolerance: in the unit of the loss.
        spread: inputs from all over the data, by which to fit the ways in lower precision, whose error is dealt with
            later; None to try none of those, so that both ways are the same.
    """
    n = _SOME if inputs[0].is_cuda else _AT_ONCE * torch.get_num_threads()
    some = [x[:n] for x in inputs]
    plain, expected = _plain(model, some, losses)
    if plain.seconds < _WORTH_IT * len(some[0]):
        return plain, plain
    exact = plain
    for name in EXACT:  # from the most to the least promising
        way = _made_and_tried(name, model, inputs, some, losses, expected, tolerance)
        if way is not None and _clearly_quicker(way, plain, some):
            exact = way
            break
    best = exact
    for name in FAST if spread else ():
        way = _made_and_tried(name, model, spread or inputs, some, losses, expected, math.inf)
        if way is not None and _clearly_quicker(way, best, some):
            best = way
        if best.seconds < exact.seconds / 2:
            break  # reading the images takes longer than the rest could save
    for way in (exact, best):
        _log.info("%s: %.1f ms for images that take %.1f ms plain", way.name, way.seconds * 1e3, plain.seconds * 1e3)
    return exact, best


class Chosen:
    """The ways that were chosen for a model, and what was made of them, for one split after the other.

    Attributes:
        names: the name of each way, by `"exact"` and `"fast"`; one that is there is taken.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._made: dict[str, Model] = {}

    def way(
        self,
        model: nn.Module,
        inputs: Sequence[Tensor],
        losses: Callable[[Any], Tensor],
        spread: Callable[[], Sequence[Tensor]],
        fast: bool,
    ) -> Model:
        """The quickest way, or, unless `fast`, the quickest one that gives the same losses.

        Args:
            model, inputs, losses: see `choose`.
            spread: gives inputs from all over the data.
            fast: which way.
        """
        kind = "fast" if fast else "exact"
        if kind not in self._made and kind in self.names:
            name = self.names[kind]
            self._made[kind] = make(name, model, spread() if name in FAST else inputs)
        if kind not in self._made:
            ways = choose(model, inputs, losses, TOLERANCE, spread() if fast else None)
            for each, way in zip(("exact", "fast") if fast else ("exact",), ways, strict=False):
                self.names.setdefault(each, way.name)
                self._made.setdefault(each, way.model)
        return self._made[kind]


def _made_and_tried(
    name: str,
    model: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[Tensor],
    losses: Callable[[Any], Tensor],
    expected: Tensor,
    tolerance: float,
) -> Way | None:
    """The way called `name`, or None where it cannot be made or gives other losses."""
    try:
        way = _tried(name, make(name, model, examples), inputs, losses, expected)
    except Exception as error:  # noqa: BLE001 - the compilers of torch raise whatever they like; plain remains
        _log.info("%s: not for this model (%s)", name, " ".join(f"{type(error).__name__}: {error}".split())[:200])
        return None
    if not way.difference <= tolerance:
        _log.warning("%s: losses differ by %.2g, more than %.0e; not used", name, way.difference, tolerance)
        return None
    return way


def make(name: str, model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """The way called `name`, a key of `EXACT` or `FAST`, made from a copy of the model."""
    if name == "plain":
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces successors of its compilers, which are slower to start
        return {**EXACT, **FAST}[name](copy.deepcopy(model), inputs)


def load_compilers() -> None:
    """Import what the ways in lower precision are made with; it takes most of a second, once."""
    import torch.ao.quantization.quantize_fx  # noqa: F401


def has_hooks(model: nn.Module) -> bool:
    """Whether somebody listens to the model's layers, which only the plain way would tell them about."""
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    return any(getattr(module, kind, None) for module in model.modules() for kind in kinds)


def _plain(model: nn.Module, inputs: Sequence[Tensor], losses: Callable[[Any], Tensor]) -> tuple[Way, Tensor]:
    """The model as it is, and the losses that are expected of other ways."""
    model(*(x[:2] for x in inputs))  # what a process does once, such as bringing the weights into memory
    result, seconds = _timed(model, inputs)
    return Way("plain", model, 0.0, seconds), losses(result)


def _tried(name: str, model: Model, inputs: Sequence[Tensor], losses: Callable[[Any], Tensor], expected: Tensor) -> Way:
    result, seconds = _timed(model, inputs)
    found = losses(result)
    # Equal infinities are no difference.
    difference = float(torch.where(found == expected, 0.0, (found - expected).abs()).max())
    return Way(name, model, difference, seconds)


def _timed(model: Model, inputs: Sequence[Tensor]) -> tuple[Any, float]:
    """What a model makes of the inputs, and the quickest of some runs.

    Of a large model on a CPU one run says enough, unless two are close. On a GPU the first ones compile and load what
    the others run.
    """
    result, times = None, list[float]()
    warm = _WARM if inputs[0].is_cuda else 0
    for _ in range(6):
        start = time.perf_counter()
        result = model(*inputs)
        if inputs[0].is_cuda:
            torch.cuda.synchronize(inputs[0].device)
        times.append(time.perf_counter() - start)
        if sum(times) > _LONG_ENOUGH and len(times) > warm:
            break
    return result, min(times)


def _clearly_quicker(way: Way, other: Way, inputs: Sequence[Tensor]) -> bool:
    """Whether a way takes less time than another by more than noise.

    Where they are close both are run once more, since a first run may take half as long again as later ones.
    """
    ours, theirs = way.seconds, other.seconds
    if theirs / 2 < ours < 2 * theirs:
        ours, theirs = (min(each.seconds, _timed(each.model, inputs)[1]) for each in (way, other))
    return ours < _CLEARLY * theirs


def _channels_last(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Convolutions without a change of layout before and after each of them."""
    _to_channels_last(model)
    return lambda *inputs: model(*map(_last, inputs))


def _traced(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Traced, frozen and fused: batch normalization goes into the weights, activations into the convolutions."""
    _to_channels_last(model)
    return _frozen(model, inputs)


def _fused(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """As traced, with runs of layers put together by oneDNN Graph: a residual is added while it is in the cache.

    That is done for one number of images; a rest of fewer runs as traced.
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
    """Weights and activations of 16 bits; quick where the processor multiplies them."""
    _to_channels_last(model.to(torch.bfloat16))
    return lambda *inputs: model(*(_last(x).to(torch.bfloat16) for x in inputs)).float()


def _int8(model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Weights and activations of 8 bits, their ranges taken from the inputs; quick on processors with VNNI."""
    from torch.ao.quantization import MinMaxObserver, QConfig, default_per_channel_weight_observer
    from torch.ao.quantization import get_default_qconfig_mapping as mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    if inputs[0].is_cuda:
        raise NotImplementedError("8-bit convolutions are for the CPU")
    # Minima and maxima: ranges from histograms take a second more and were measured to err more.
    weights = default_per_channel_weight_observer
    config: Any = QConfig(MinMaxObserver.with_args(dtype=torch.quint8), weights)  # type: ignore[no-untyped-call]
    examples = [_last(x[:_SOME]) for x in inputs]
    # Of the logits themselves a step of 8 bits is a tenth of a nat and more, and their layer takes no time.
    layers = mapping("x86").set_global(config)
    for last in [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)][-1:]:
        layers = layers.set_module_name(last, None)
    prepared = prepare_fx(model, layers, tuple(examples))
    prepared(*examples)
    for observer in prepared.modules():
        if type(observer) is MinMaxObserver:
            # Room for values beyond those of a few images: one that is cut off makes an error of some nats. The bit
            # that it costs is one that processors without VNNI cannot use anyway, whose sums of products overflow.
            observer.min_val.mul_(2)
            observer.max_val.mul_(2)
    return _frozen(convert_fx(prepared), inputs, _AT_ONCE_IN_8_BITS)


def _frozen(model: nn.Module, inputs: Sequence[Tensor], most: int = _AT_ONCE) -> Model:
    example = tuple(_last(x[: part_size(len(x), most)]) for x in inputs)
    traced: Any = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    frozen = torch.jit.freeze(traced)

    def model_of_any_layout(*inputs: Tensor) -> Any:
        return frozen(*map(_last, inputs))

    if inputs[0].is_cuda:
        return model_of_any_layout  # what it compiles is for one number of images, which is not that of the example
    for _ in range(_WARM):
        frozen(*example)
    return in_parts(model_of_any_layout, most)


def _to_channels_last(model: nn.Module) -> None:
    """Put the weights of 2-d convolutions, and nothing else, into the layout that their kernels read fastest."""
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
"""Ways that compute in the model's own precision."""

FAST: dict[str, Callable[[nn.Module, Sequence[Tensor]], Model]] = {"int8": _int8, "bfloat16": _bfloat16}
"""Ways that compute in less."""
