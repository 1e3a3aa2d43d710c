"""Where scored samples come from: one adapter for each kind of model and data, all with the interface `Source`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from cleaner.core.records import ScoredBatch, ScoredLabels
from cleaner.core.tasks import SINGLE_LABEL

if TYPE_CHECKING:
    from cleaner.scoring.sources.loading import Reader

__all__ = ["Candidates", "Source", "Spreadable", "Wanted"]

Wanted = Callable[[str, Callable[[], str]], bool]
"""Tells by a sample's path, and by a function that gives its label, whether to score it; looking up a label costs."""


class Candidates(Protocol):
    """Which samples of a pass will be scored again, as far as that is known while it runs."""

    def among(self, batch: ScoredBatch) -> set[str]:
        """The paths of the candidates of a batch that was just scored."""

    def so_far(self) -> set[str]:
        """The paths of all that are candidates now; costs more than `among`."""


class Source(Protocol):
    """What the engine needs of a model and its data; one that classifies with one label an image can inherit from it.

    Attributes:
        root, address: as in `Scan`; every path of a batch is relative to them.
        vocab: the labels, in the order of the model's outputs.
        task, label_delim: as in `Scan`.
        splits: names of the splits that `score` accepts.
        left_out: as in `Scan`.
        settings: how samples are scored, for `scan.json`.
        ways: the name of the way in which the model is run, by `"exact"` and `"fast"`; chosen on the first batches, or
            set before by a scan that goes on where another one stopped.
    """

    root: Path
    address: str = ""
    vocab: tuple[str, ...]
    task: str = SINGLE_LABEL
    label_delim: str = ""
    splits: tuple[str, ...]
    left_out: Mapping[str, int] = MappingProxyType({})
    settings: dict[str, Any]
    ways: dict[str, str]

    @property
    def readers(self) -> Mapping[str, Reader]:
        """The reader of each split; none where no images are read here."""
        return {}

    def identity(self) -> dict[str, Any]:
        """What must be the same for a scan to go on: the model's weights, the loss, the number of samples."""

    def count(self, split: str) -> int:
        """Number of samples in the split, readable or not; `sys.maxsize` where nobody knows before the end."""

    def paths(self, split: str) -> Iterator[str]:
        """The paths of the split's samples, in the order in which they are scored."""

    def given(self, split: str, paths: Container[str]) -> dict[str, tuple[str, ...]]:  # noqa: ARG002
        """All labels that each of these samples carries; only asked for where there may be several."""
        return {}

    def drawn(self, split: str, paths: Container[str]) -> Iterator[tuple[str, bytes]]:  # noqa: ARG002
        """A JPEG of each of these samples with its target; only asked for where there are no labels.

        One that cannot be drawn has no bytes.
        """
        return iter(())

    def score(
        self,
        split: str,
        consume: Callable[[ScoredBatch | ScoredLabels], None],
        *,
        skip: int = 0,
        fast: bool = False,
        only: Wanted | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        """Score the samples of a split once and hand each batch to `consume`.

        Args:
            split: the split.
            consume: takes the batches, in order; with several labels an image `ScoredLabels`, else `ScoredBatch`.
            skip: number of samples to pass over at the beginning.
            fast: run the model in the quickest way, not the quickest one that gives the same losses.
            only: which samples to score; None for all.
            candidates: what will be asked for with `only` later; a source may hold on to some of it, so that it need
                not be read again.
        """


class Spreadable(Source, Protocol):
    """A source that can be pickled and whose samples can be scored in several processes, each by its key."""

    def listing(self, split: str) -> Callable[[], Iterator[Any]]:
        """What gives the keys of the split's samples, in the order of `paths`; small enough to be sent elsewhere."""

    def keys(self, split: str, only: Wanted | None = None) -> Iterator[Any]:
        """The keys of the samples that `only` asks for, by default of all."""

    def settle_in(self, device: Any, workers: int) -> None:
        """Make ready to score on `device`, a `torch.device`, with `workers` processes that read images."""

    def score_shard(
        self, split: str, keys: Sequence[Any], consume: Callable[[ScoredBatch | ScoredLabels], None], *, fast: bool
    ) -> None:
        """Score the samples of `keys` and hand each batch to `consume`; `fast` as in `score`."""
