"""Real handwritten digits with known wrong labels, written as the usual kinds of datasets."""

from __future__ import annotations

import csv
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

# In the order of the digits; fastai sorts the names.
NAMES = ("zero", "one", "number_two", "three")
VOCAB = tuple(sorted(NAMES))
PER_CLASS, PIXELS = 24, 16
NAME_PATTERN = r"(.+)_\d+.png$"


@dataclass(frozen=True)
class Digit:
    """An image with its true label and the label in the dataset."""

    number: int
    pixels: Any
    true: str
    label: str

    @property
    def is_wrong(self) -> bool:
        return self.true != self.label


@cache
def digits() -> tuple[Digit, ...]:
    """Return real handwritten digits; the third of each class has the label of the next class."""
    found, data = list[Digit](), load_digits()
    for place, true in enumerate(NAMES):
        for n, index in enumerate(np.flatnonzero(data.target == place)[:PER_CLASS]):
            label = NAMES[(place + 1) % len(NAMES)] if n == 2 else true
            found.append(Digit(int(index), np.uint8(255 - data.images[index] * (255 / 16)), true, label))
    return tuple(found)


def trained_model() -> nn.Module:
    """Return a linear model that was trained on the true labels."""
    return deepcopy(_trained_model())


@cache
def _trained_model() -> nn.Module:
    some = digits()
    images = [Image.fromarray(d.pixels).resize((PIXELS, PIXELS), Image.Resampling.NEAREST) for d in some]
    x = torch.tensor(np.stack([np.array(image.convert("RGB")).transpose(2, 0, 1) for image in images])) / 255
    y = torch.tensor([VOCAB.index(d.true) for d in some])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * PIXELS**2, len(VOCAB)))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def write(digit: Digit, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(digit.pixels).resize((PIXELS, PIXELS), Image.Resampling.NEAREST)
    image.save(path)
    return path.name


def in_folders(root: Path) -> None:
    for digit in digits():
        write(digit, root / digit.label / f"{digit.number}.png")


def in_splits(root: Path) -> None:
    for n, digit in enumerate(digits()):
        write(digit, root / ("valid" if n % 3 == 0 else "train") / digit.label / f"{digit.number}.png")


def in_names(root: Path) -> None:
    # Each class has the same numbers, as in Pets, so that a relabelled file finds its name taken.
    numbers = {label: count(1) for label in NAMES}
    for digit in digits():
        write(digit, root / "images" / f"{digit.label}_{next(numbers[digit.label])}.png")


def in_a_table(root: Path) -> None:
    names = [(write(digit, root / "images" / f"{digit.number}.png"), digit.label) for digit in digits()]
    with open(root / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("fname", "kind"), *names])
