"""What may be compared: metrics of one measure, and no others."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vae_lab.data import ImageDataModule
from vae_lab.model import LatentVariableModel

COMPLETES = "of an image {} is given: every number is of its other pixels alone"


@dataclass(frozen=True)
class Measure:
    """What two models' metrics must have in common to be compared: all of this.

    Its fields are plain values, so that `asdict` stores it with every metric. For people it is one
    line, by `str`.

    Attributes:
        data: The name of the source of data.
        split: A hash of the items of each split.
        evaluated: A hash of the validation and test items as prepared; None of streamed data.
        preparation: What is done to pixels, in one word.
        support: The values of x that the likelihood is defined on, in words.
        conditional: Whether it is not log p(x) that is bounded, but log p(x|y) or, of a model that
            is given a part of x, that of the rest.
        observed: That part, in words; empty where there is none.
    """

    data: str
    split: str
    evaluated: str | None
    preparation: str
    support: str
    conditional: bool
    observed: str = ""

    @classmethod
    def of(cls, data: ImageDataModule, model: LatentVariableModel) -> "Measure":
        """The measure of what `model` is found to be worth on `data`, which are set up."""
        return cls(
            data=data.source.name,
            split=data.split_hash,
            evaluated=data.eval_hash,
            preparation=data.preparation.describe(),
            support=model.likelihood.support.value,
            conditional=model.reads_labels or bool(model.observed),
            observed=model.observed,
        )

    def is_told_by(self, record: Mapping[str, Any]) -> bool:
        """Whether this is what was recorded, by `asdict`; of `observed` not every record tells."""
        return asdict(self) == {"observed": "", **record}

    def words(self) -> str:
        """What it is for people, but for the hashes that tell apart what is alike in words."""
        bounded = f"log p(x|{self.observed or 'y'})" if self.conditional else "log p(x)"
        return f"{self.data}, {self.preparation}, {self.support}, {bounded}"

    def __str__(self) -> str:
        return f"{self.words()} (split {self.split}, items {self.evaluated or 'streamed'})"
