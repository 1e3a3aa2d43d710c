"""The quicker ways give the same losses or are not taken, and leave the model alone."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

import cleaner
from cleaner.scoring.model import backends
from tests.support.learners import make_folder, make_learner, plain_losses


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet18(weights=None, num_classes=5).eval()


@pytest.fixture(scope="module")
def inputs() -> list[Tensor]:
    return [torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))]


def losses(prediction: Tensor, n: int | None = None) -> Tensor:
    targets = torch.tensor([0, 1, 2, 3])[: len(prediction) if n is None else n]
    return functional.cross_entropy(prediction, targets, reduction="none")


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_pays", lambda *_: True)


@torch.no_grad()
@pytest.mark.parametrize("name", backends.EXACT)
def test_exact_ways_give_the_same_losses(name: str, model: nn.Module, inputs: list[Tensor]) -> None:
    way = backends.make(name, model, inputs)
    assert losses(way(*inputs)).numpy() == pytest.approx(losses(model(*inputs)).numpy(), abs=1e-4)
    one = [x[:1] for x in inputs]  # the last batch is smaller
    assert losses(way(*one)).numpy() == pytest.approx(losses(model(*one)).numpy(), abs=1e-4)


@torch.no_grad()
def test_putting_layers_together_is_off_again_for_others(model: nn.Module, inputs: list[Tensor]) -> None:
    before = torch.jit.onednn_fusion_enabled()
    backends.make("fused", model, inputs)
    assert torch.jit.onednn_fusion_enabled() == before
    with pytest.raises(RuntimeError):
        backends.make("fused", nn.Linear(3, 2), inputs)
    assert torch.jit.onednn_fusion_enabled() == before


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in ("bfloat16", "int8") if name in backends.FAST])
def test_fast_ways_give_losses_near_them(name: str, model: nn.Module, inputs: list[Tensor]) -> None:
    way = backends.make(name, model, inputs)
    assert losses(way(*inputs)).numpy() == pytest.approx(losses(model(*inputs)).numpy(), abs=0.5)


@torch.no_grad()
def test_the_model_is_left_alone(model: nn.Module, inputs: list[Tensor]) -> None:
    before = {name: (values.dtype, values.stride(), values.clone()) for name, values in model.state_dict().items()}
    backends.choose(model, inputs, losses, lambda: inputs)
    for name, values in model.state_dict().items():
        dtype, stride, found = before[name]
        assert (values.dtype, values.stride()) == (dtype, stride)
        assert torch.equal(values, found)
    assert not model.training


@torch.no_grad()
def test_a_way_that_gives_other_losses_is_not_taken(
    model: nn.Module, inputs: list[Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = model(*inputs) + torch.tensor([0.0, 0.0, 0.0, 0.0, 0.1])
    monkeypatch.setattr(backends, "EXACT", {"wrong": lambda *_: lambda x: wrong[: len(x)]})
    with caplog.at_level(logging.INFO, "cleaner"):
        way = backends.choose(model, inputs, losses)
    assert way.name == "plain"
    assert "wrong: losses differ by" in caplog.text


@torch.no_grad()
def test_a_way_that_gives_nan_is_not_taken(
    model: nn.Module, inputs: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = model(*inputs) * math.nan
    monkeypatch.setattr(backends, "EXACT", {"wrong": lambda *_: lambda x: wrong[: len(x)]})
    way = backends.choose(model, inputs, losses)
    assert way.name == "plain"


@torch.no_grad()
def test_a_way_that_cannot_be_made_is_left_out(
    model: nn.Module, inputs: list[Tensor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("cannot trace\nthis")

    monkeypatch.setattr(backends, "EXACT", {"fails": fails})
    with caplog.at_level(logging.INFO, "cleaner"):
        way = backends.choose(model, inputs, losses)
    assert way.name == "plain"
    assert "fails: not for this model (RuntimeError: cannot trace this)" in caplog.text


class Clock:
    """Time as models take it, so that the machine's does not count."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(backends, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def model(self, *seconds: float) -> Any:
        """Gives its input, and takes so many seconds for each run of more than two samples, the last from then on."""
        left = list(seconds)

        def run(x: Tensor) -> Tensor:
            if len(x) > 2:
                self.now += left.pop(0) if len(left) > 1 else left[0]
            return x

        model = nn.Identity()
        model.forward = run
        return model


@pytest.mark.parametrize(
    ("plain", "way", "taken"),
    [
        ((0.15, 0.1), (0.1,), "plain"),  # the first run of the model is the slow one
        ((0.15, 0.1), (0.15, 0.1), "plain"),
        ((0.15, 0.1), (0.12, 0.08), "way"),
        ((0.15, 0.1), (0.06,), "way"),
        ((0.1,), (0.11,), "plain"),
        ((0.02, 0.01), (0.01,), "plain"),
    ],
)
def test_the_first_run_of_a_model_does_not_decide(
    plain: tuple[float, ...], way: tuple[float, ...], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(backends, "EXACT", {"way": lambda *_: clock.model(*way)})
    found = backends.choose(clock.model(*plain), [torch.zeros(4, 5)], losses)
    assert found.name == taken


class Learned:
    """A learner whose every way is tried, with a quickest one of our choice."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.data = make_folder(folder / "data")
        self.learn = make_learner(self.data)
        made = {name: {**backends.EXACT, **backends.FAST}[name]}
        monkeypatch.setattr(backends, "EXACT", made if name in backends.EXACT else {})
        monkeypatch.setattr(backends, "FAST", made if name in backends.FAST else {})
        monkeypatch.setattr(backends, "_CLEARLY_FASTER", math.inf)


@pytest.mark.parametrize("name", backends.EXACT)
def test_a_scan_in_another_way_has_the_losses_of_get_preds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Learned(tmp_path, monkeypatch, name).learn
    model, attributes = learn.model, dict(learn.__dict__)
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert scan.settings["ways"] == {"exact": name}
    assert learn.__dict__ == attributes
    assert learn.model is model
    found = {Path(s.path).name: s.loss for s in scan.samples if s.split == "train"}
    assert found == pytest.approx(plain_losses(learn, learn.dls.train.items), abs=1e-4)


@pytest.mark.parametrize("name", [name for name in ("bfloat16", "int8") if name in backends.FAST])
def test_a_fast_scan_keeps_what_an_exact_one_keeps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = Learned(tmp_path, monkeypatch, name)
    exact = cleaner.scan_folder(learned.learn, learned.data, tmp_path / "exact", k=3, progress=False)
    fast = cleaner.scan_folder(learned.learn, learned.data, tmp_path / "fast", k=3, progress=False, fast=True)
    assert fast.settings["ways"]["fast"] == name
    assert [(s.path, s.label, s.rank) for s in fast.samples] == [(s.path, s.label, s.rank) for s in exact.samples]
    assert [s.loss for s in fast.samples] == pytest.approx([s.loss for s in exact.samples], abs=1e-4)
    seen = fast.settings["fast"]["all"]
    assert 0 < seen["error"] < 0.5
    assert 9 / 21 <= round(seen["scored_twice"], 2) <= 1


def test_layers_that_somebody_listens_to_are_run_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Learned(tmp_path, monkeypatch, "traced").learn
    heard: list[int] = []
    learn.model[0].register_forward_hook(lambda *_: heard.append(1))
    scan = cleaner.scan(learn, tmp_path / "scan", progress=False)
    assert scan.settings["ways"] == {}
    assert len(heard) == 6  # batches


@pytest.mark.parametrize(
    ("mkldnn", "avx512", "avx512_bf16", "amx_tile", "expected"),
    [
        (False, False, False, False, False),  # AVX2 alone
        (True, True, False, False, False),  # AVX-512 without bfloat16
        (True, True, True, False, True),
        (True, True, True, True, True),
        (True, False, False, False, True),  # ARM
        (True, None, None, None, True),  # an early version of torch
    ],
)
def test_sixteen_bits_are_tried_where_the_processor_has_them(
    mkldnn: bool, avx512: Any, avx512_bf16: Any, amx_tile: Any, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # what holds for all tests of scoring
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: mkldnn)
    for name, value in {"avx512": avx512, "avx512_bf16": avx512_bf16, "amx_tile": amx_tile}.items():
        check = None if value is None else lambda value=value: value
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", check, raising=False)
    for cached in (backends.cpu_has_bfloat16, backends.cpu_prefers_8_bits):
        cached.cache_clear()
    assert backends.cpu_has_bfloat16() is expected
    # With AVX-512 8 bits are much quicker than 16.
    order = ["int8", "bfloat16"] if avx512 else ["bfloat16", "int8"]
    assert backends.lower_precision(torch.device("cpu")) == (order if expected else ["int8"])
    for cached in (backends.cpu_has_bfloat16, backends.cpu_prefers_8_bits):
        cached.cache_clear()
