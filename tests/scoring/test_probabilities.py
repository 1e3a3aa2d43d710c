"""A model that ends in a softmax is noticed: cross-entropy takes logits."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from fastai.vision import all as fastai
from torch import nn
from torch.nn import functional
from torchvision.datasets import ImageFolder

import cleaner
from cleaner.scoring.model.losses import warn_if_probabilities
from tests.support.learners import make_folder, make_learner
from tests.support.torch_models import TRANSFORM, make_model, scan_model

WARNING = "the model's outputs are probabilities"


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("ends_in_softmax", [False, True])
def test_a_torch_model_that_ends_in_softmax_is_noticed_once(
    ends_in_softmax: bool, views: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = ImageFolder(make_folder(tmp_path / "images"), TRANSFORM)
    model = nn.Sequential(make_model(), nn.Softmax(dim=1)) if ends_in_softmax else make_model()
    scan_model(dataset, tmp_path / "scan", model, views=views)
    found = warnings_in(caplog)
    assert len(found) == ends_in_softmax
    assert all("Remove the last layer" in text and "cross_entropy" in text for text in found)


@pytest.mark.parametrize("loss", [fastai.CrossEntropyLossFlat(), fastai.LabelSmoothingCrossEntropyFlat(), nn.NLLLoss()])
def test_a_learner_whose_model_ends_in_softmax_is_noticed_once(
    loss: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learn = make_learner(make_folder(tmp_path / "images"), loss)
    learn.model = nn.Sequential(learn.model, nn.Softmax(dim=1))
    cleaner.scan(learn, tmp_path / "scan", progress=False, workers=0)
    assert len(warnings_in(caplog)) == (not isinstance(loss, nn.NLLLoss))


@pytest.mark.parametrize("ends_in_softmax", [False, True])
def test_a_training_of_a_model_that_ends_in_softmax_is_noticed_once(
    ends_in_softmax: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learn = make_learner(make_folder(tmp_path / "images"))
    if ends_in_softmax:
        learn.model = nn.Sequential(learn.model, nn.Softmax(dim=1))
    with learn.no_logging():
        learn.fit(2, cbs=cleaner.ScanCallback(tmp_path / "scan"))
    assert len(warnings_in(caplog)) == ends_in_softmax


@pytest.mark.parametrize(
    ("output", "loss", "is_noticed"),
    [
        (torch.tensor([[0.2, 0.8], [1.0, 0.0]]), "CrossEntropyLossFlat", True),
        (torch.tensor([[0.2, 0.8]]).half(), "cross_entropy", True),
        (torch.tensor([[0.2, 0.8]]), "FocalLossFlat", True),
        (torch.tensor([[0.2, 0.8], [0.9, 0.9]]), "cross_entropy", False),
        (torch.tensor([[-0.5, 1.5]]), "cross_entropy", False),
        (torch.tensor([[0.2, 0.8]]), "BCEWithLogitsLossFlat", False),
        (torch.tensor([[1.0]]), "cross_entropy", False),
        (torch.tensor([[float("nan"), 1.0]]), "cross_entropy", False),
        (functional.log_softmax(torch.tensor([[0.2, 0.8]]), dim=1), "cross_entropy", False),
    ],
)
def test_only_rows_of_probabilities_for_cross_entropy_are_noticed(
    output: torch.Tensor, loss: str, is_noticed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "cleaner"):
        warn_if_probabilities(output, loss)
    assert bool(warnings_in(caplog)) is is_noticed
