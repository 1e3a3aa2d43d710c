"""Faster backends, made from copies of a model, and the check that they give the same losses."""

from __future__ import annotations

import copy
import ctypes
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cleaner.core.errors import CleanerError
from cleaner.scoring.data.reader import Dataset
from cleaner.scoring.model.devices import synchronize
from cleaner.scoring.model.threads import microbatch_size, run_microbatches

__all__ = ["EXACT", "FAST", "TOLERANCE", "Backend", "BackendSelector", "choose", "has_hooks", "lower_precision", "make"]

TOLERANCE = 1e-4
"""Largest difference of a loss, in the loss's own unit, at which a backend counts as exact.

Where the model differs more from itself if a batch is split in another way, as with TF32 or half precision, that
difference is the tolerance.
"""

# Images per thread: what lies between the layers stays in the cache of its core. In lower precision twice as many fit.
_MICROBATCH, _LOW_PRECISION_MICROBATCH = 4, 8
# Images that show the value ranges inside a model.
_SAMPLE = 16
# Trials end after this many seconds or runs.
_TRIAL_SECONDS, _MAX_RUNS = 0.1, 6
# A compiled model still optimizes itself in its first two runs.
_WARMUP_RUNS = 2
# A backend must take at most this share of the time: noise in a timing must not decide.
_CLEARLY_FASTER = 0.9
# What making and trying a backend costs: seconds, and images that the model could score meanwhile. Measured with
# resnet18 and resnet50 on two cores of a server, at 224 pixels.
_COSTS = {"fused": (0.5, 20), "traced": (0.5, 20), "channels-last": (0.0, 20), "bfloat16": (0.1, 20), "int8": (1.5, 80)}
_OTHER_COST = (2.0, 20)
# The share of the time of the best backend so far that another one can be expected to save. One that computes in 8
# bits saves little beside one that computes in 16.
_EXPECTED_SAVING, _EXPECTED_SAVING_IN_8_BITS = 0.4, 0.2

_log = logging.getLogger("cleaner")

Model = Callable[..., Any]
Losses = Callable[[Any, int], Tensor]
"""Returns the losses [n] of a model's output for the first `n` samples of a batch."""


class Backend(NamedTuple):
    """A way to run a model.

    Attributes:
        name: in the log and in `scan.json`.
        model: the function that runs it.
        seconds: time for the trial batch.
        error: largest difference of a loss in the trial batch.
    """

    name: str
    model: Model
    seconds: float
    error: float = 0.0


class BackendSelector:
    """The backends selected for a model, shared by all splits.

    Attributes:
        names: name of the exact and the fast backend, by `"exact"` and `"fast"`. A name that is set is not chosen anew.
        images_left: how many images are to be scored, so that no backend is made that would not pay.
        error: largest error of a loss that the trial of the fast backend showed.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.images_left = sys.maxsize
        self.error = 0.0
        self._models: dict[str, Model] = {}

    @property
    def is_lower_precision(self) -> bool:
        """True if the fast backend computes in lower precision."""
        return self.names.get("fast") in FAST

    def select(
        self,
        model: nn.Module,
        inputs: Sequence[Tensor],
        losses: Losses,
        dataset: Dataset,
        to_inputs: Callable[[Any], Sequence[Any]],
        fast: bool,
        reading: float = 0.0,
    ) -> Model:
        """Return the quickest backend, or, unless `fast`, the quickest exact one.

        Args:
            model, inputs, losses, reading: as in `choose`.
            dataset: the split; samples from all over it calibrate backends of lower precision.
            to_inputs: returns the model's inputs, and perhaps targets, for collated samples.
        """
        kind = "fast" if fast else "exact"
        if kind in self._models:
            return self._models[kind]
        if has_hooks(model):
            return model

        @cache
        def spread() -> Sequence[Tensor]:
            data = dataset.spread_data()
            found = inputs if data is None else to_inputs(data)[: len(inputs)]
            return [x.as_subclass(Tensor).to(inputs[0].device) for x in found]

        if name := self.names.get(kind):
            try:
                self._models[kind] = make(name, model, spread() if name in FAST else inputs)
                return self._models[kind]
            except Exception as error:  # noqa: BLE001 - as in `_Trial.quicker`
                _log.info("%s: not here (%s); a backend is chosen anew", name, _one_line(error))
                del self.names[kind]
        try:
            backend = choose(model, inputs, losses, spread if fast else None, self.images_left, reading)
        except CleanerError:
            # The output does not fit. That is reported for the whole batch, unless a callback changes the output.
            return self._models.setdefault(kind, model)
        _return_freed_memory()
        self.names[kind] = backend.name
        if fast:
            self.error = backend.error
        return self._models.setdefault(kind, backend.model)


def choose(
    model: nn.Module,
    inputs: Sequence[Tensor],
    losses: Losses,
    spread: Callable[[], Sequence[Tensor]] | None = None,
    n_images: int = sys.maxsize,
    reading: float = 0.0,
) -> Backend:
    """Try backends of a model in evaluation mode; return the quickest one, an exact one unless `spread` is given.

    A small model, or a backend that is hardly quicker, leaves it at plain: the last digits of a loss depend on the
    backend, and should not change from run to run.

    Args:
        inputs: a real batch, as the model takes it; on a CPU as many of its images are tried as are computed at once.
        losses: see `Losses`.
        spread: returns inputs from all over the data, by which backends of lower precision are calibrated.
        n_images: number of images to be scored.
        reading: seconds that the readers take for an image.
    """
    on_cpu = inputs[0].device.type == "cpu"
    tried = [x[: _MICROBATCH * torch.get_num_threads()] for x in inputs] if on_cpu else list(inputs)
    n = len(tried[0])
    model(*(x[:2] for x in tried))  # what a process does once, such as loading the weights into memory
    output, seconds = _timed(model, tried, min_runs=1)
    best = Backend("plain", model, seconds)
    if not on_cpu and seconds < reading * n:
        return best  # a scan waits for its readers
    trial = _Trial(model, tried, losses, losses(output, n))
    for name in EXACT if spread is None else (*lower_precision(inputs[0].device), *EXACT):
        if best.name == "int8" or (best.name != "plain" and name in EXACT):
            break  # the first one that helps: the others are variants of it, or slower than 8 bits
        if _pays(name, best, n, n_images):
            best = trial.quicker(best, name, spread() if spread and name in FAST else inputs) or best
    return best


def lower_precision(device: torch.device) -> list[str]:
    """Return the backends of lower precision for a device, keys of `FAST`, in the order of their trials.

    With AVX-512 8 bits take half the time of 16: a resnet18 took 2.2 and 4.7 ms an image, and 3.5 and 7.4 ms on a
    processor that has matrix units (AMX) too. On other CPUs the one that is cheaper to make comes first.
    """
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        names = ["bfloat16", "tf32"] if has_bfloat16 else ["float16"]
    else:
        on_cpu = ["int8", "bfloat16"] if cpu_prefers_8_bits() else ["bfloat16", "int8"]
        names = {"cpu": on_cpu, "mps": ["float16"]}.get(device.type, ["bfloat16"])
        if device.type == "cpu" and not cpu_has_bfloat16():
            names.remove("bfloat16")
    return [name for name in names if name in FAST]


@cache
def cpu_prefers_8_bits() -> bool:
    """Return whether the processor has AVX-512; false where torch cannot tell."""
    has_avx512 = getattr(torch.cpu, "_is_avx512_supported", None)
    return has_avx512 is not None and bool(has_avx512())


@cache
def cpu_has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16.

    Others emulate them: on one with AVX2 alone, a resnet18 took 8 s to make and 5 s for the trial.
    """
    is_built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (is_built and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    # oneDNN also says so of processors that have AVX-512 without them. Versions of torch before 2.6 cannot tell.
    checks = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512", "avx512_bf16", "amx_tile")]
    if None in checks:
        return True
    avx512, *native = (bool(check()) for check in checks)  # type: ignore[misc]
    return any(native) or not avx512


def make(name: str, model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Make the backend `name`, a key of `EXACT` or `FAST`, from a copy of the model."""
    if name == "plain":
        return model
    if inputs[0].device.type != "cpu" and name in ("fused", "int8"):
        raise NotImplementedError("only for the CPU")
    if inputs[0].device.type != "cuda" and name == "tf32":
        raise NotImplementedError("only for CUDA")
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.data = _channels_last(parameter.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces successors of its compilers, which are slower to start
        return {**EXACT, **FAST}[name](copied, inputs)


def _return_freed_memory() -> None:
    """Return what the backends that were not selected took to the system; the C library would keep 200 MiB of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries than GNU's lack it
        if trim is not None:
            trim(0)


def has_hooks(model: nn.Module) -> bool:
    """Return whether a layer has hooks, which only the plain backend calls."""
    names = "_forward_hooks", "_forward_pre_hooks"
    return any(getattr(layer, name, None) for layer in model.modules() for name in names)


def _pays(name: str, best: Backend, n_tried: int, n_images: int) -> bool:
    """Return whether a backend can be expected to save more time than it takes to make it."""
    per_image = best.seconds / n_tried
    seconds, images = _COSTS.get(name, _OTHER_COST)
    saving = _EXPECTED_SAVING_IN_8_BITS if best.name in FAST else _EXPECTED_SAVING
    return n_images * saving * per_image > seconds + images * per_image


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class _Trial(NamedTuple):
    """A model, the inputs on which its backends are tried, and the losses that they must give."""

    model: nn.Module
    inputs: Sequence[Tensor]
    losses: Losses
    expected: Tensor

    def quicker(self, other: Backend, name: str, examples: Sequence[Tensor]) -> Backend | None:
        """Return a backend if it can be made, gives the expected losses and is clearly faster than another one."""
        try:
            made = make(name, self.model, examples)
            output, seconds = _timed(made, self.inputs)
            found = self.losses(output, len(self.inputs[0]))
        except ImportError as error:
            _log.warning("%s: this version of torch lacks what it needs (%s); not used", name, _one_line(error))
            return None
        except Exception as error:  # noqa: BLE001 - torch's compilers raise anything; plain remains
            _log.info("%s: not for this model (%s)", name, _one_line(error))
            return None
        difference = _difference(found, self.expected)
        if not difference <= self._tolerance(name, difference):
            _log.info("%s: losses differ by %.2g, more than the model's from themselves; not used", name, difference)
            return None
        theirs = other.seconds
        if theirs / 2 < seconds < 2 * theirs:  # too close to tell, as first runs are slow
            seconds = min(seconds, _timed(made, self.inputs, min_runs=1)[1])
            theirs = min(theirs, _timed(other.model, self.inputs, min_runs=1)[1])
        _log.info("%s: %.1f ms, %s: %.1f ms", name, seconds * 1e3, other.name, theirs * 1e3)
        return Backend(name, made, seconds, difference) if seconds < _CLEARLY_FASTER * theirs else None

    def _tolerance(self, name: str, difference: float) -> float:
        """Return the largest difference at which a backend is used; the model is run again only if that matters."""
        if name in FAST:
            return sys.float_info.max  # infinite losses are an overflow
        return TOLERANCE if not difference > TOLERANCE else max(TOLERANCE, self._own_difference())

    def _own_difference(self) -> float:
        """Return how much the losses of the plain model differ if the batch is computed in two parts."""
        n = len(self.inputs[0])
        if n < 2:
            return 0.0
        halves = [self.model(*(x[part] for x in self.inputs)) for part in (slice(n // 2), slice(n // 2, n))]
        difference = _difference(self.losses(torch.cat(halves), n), self.expected)
        _log.info("the model's losses differ from themselves by %.2g in another split of the batch", difference)
        return difference


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two losses; equal infinities are none."""
    return float(torch.where(found == expected, 0.0, (found - expected).abs()).max())


def _timed(model: Model, inputs: Sequence[Tensor], min_runs: int = 2) -> tuple[Any, float]:
    """Return a model's output and its quickest time; first runs start threads, and compile what others run."""
    output, times, device = None, list[float](), inputs[0].device
    if device.type != "cpu":
        min_runs = 1 + _WARMUP_RUNS
    while len(times) < min_runs or (len(times) < _MAX_RUNS and sum(times) <= _TRIAL_SECONDS):
        start = time.perf_counter()
        output = model(*inputs)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return output, min(times)


def _one_layout(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Keep one memory layout through all convolutions."""
    return lambda *inputs: model(*map(_channels_last, inputs))


def _frozen(
    model: nn.Module,
    inputs: Sequence[Tensor],
    max_size: int = _MICROBATCH,
    while_traced: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 - it has no state
) -> Model:
    """Trace, freeze and fuse: batch normalization goes into the weights, activations into the convolutions."""
    example = tuple(_channels_last(x[: microbatch_size(len(x), max_size)]) for x in inputs)
    with while_traced:
        traced: Any = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
    frozen = torch.jit.freeze(traced)
    any_layout = _one_layout(frozen, inputs)
    if inputs[0].device.type != "cpu":
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


def _autocast(dtype: torch.dtype, model: nn.Module, inputs: Sequence[Tensor]) -> Model:
    """Compute in 16 bits, which is fast where the processor multiplies them; normalization stays in full precision.

    The last layer too: it takes no time, and rounds a logit by a hundredth of a nat and more.
    """
    kind = inputs[0].device.type
    for layer in _last_linear(model).values():
        layer.forward = partial(_in_full_precision, layer.forward, kind)
    if kind == "cpu":
        # Without its cache, freezing finds weights that it can round once.
        autocast = torch.autocast(kind, dtype, cache_enabled=False)
        run = _frozen(model, inputs, _LOW_PRECISION_MICROBATCH, while_traced=autocast)
        return lambda *inputs: run(*inputs).float()

    def run_in_autocast(*inputs: Tensor) -> Any:
        with torch.autocast(kind, dtype):
            return model(*map(_channels_last, inputs)).float()

    return run_in_autocast


def _in_full_precision(forward: Model, kind: str, x: Tensor) -> Any:
    with torch.autocast(kind, enabled=False):
        return forward(x.float())


def _tf32(model: nn.Module, _inputs: Sequence[Tensor]) -> Model:
    """Multiply matrices with 10 bits of mantissa, which helps models of large linear layers."""

    def run(*inputs: Tensor) -> Any:
        with _tf32_products():
            return model(*map(_channels_last, inputs))

    return run


@contextmanager
def _tf32_products() -> Iterator[None]:
    settings: Any = torch.backends.cuda.matmul
    if hasattr(settings, "fp32_precision"):  # torch >= 2.9, which warns of the other way
        before, settings.fp32_precision = settings.fp32_precision, "tf32"
        try:
            yield
        finally:
            settings.fp32_precision = before
    else:
        before, settings.allow_tf32 = settings.allow_tf32, True
        try:
            yield
        finally:
            settings.allow_tf32 = before


def _last_linear(model: nn.Module) -> dict[str, nn.Module]:
    """Return the last linear layer by its name, if there is one."""
    linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    return dict(linear[-1:])


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
    for last in filter(None, _last_linear(model)):  # a model that is one layer has no name for it
        layers = layers.set_module_name(last, None)
    prepared = prepare_fx(model, layers, examples)
    prepared(*examples)
    for module in prepared.modules():
        if type(module) is MinMaxObserver:
            # Leave room for values beyond those of a few images: a clipped one causes an error of some nats. The bit
            # that this costs is one that processors without VNNI cannot use, as their sums of products overflow.
            module.min_val.mul_(2)
            module.max_val.mul_(2)
    return _frozen(convert_fx(prepared), inputs, _LOW_PRECISION_MICROBATCH)


def _channels_last(x: Tensor) -> Tensor:
    """Return images or weights in the layout that 2-d convolutions read fastest."""
    plain = x.as_subclass(Tensor)
    return plain.contiguous(memory_format=torch.channels_last) if plain.dim() == 4 else plain


_Make = Callable[[nn.Module, Sequence[Tensor]], Model]
EXACT: dict[str, _Make] = {"fused": _fused, "traced": _frozen, "channels-last": _one_layout}
"""Backends that compute in the model's own precision, the most promising first."""
FAST: dict[str, _Make] = {
    "bfloat16": partial(_autocast, torch.bfloat16),
    "float16": partial(_autocast, torch.float16),
    "int8": _int8,
    "tf32": _tf32,
}
"""Backends of lower precision; `lower_precision` says which for a device."""
