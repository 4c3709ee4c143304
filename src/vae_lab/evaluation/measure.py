"""What may be compared: metrics of one measure, and no others."""

from dataclasses import dataclass

from vae_lab.data import ImageDataModule
from vae_lab.model import LatentVariableModel


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
        conditional: Whether it is log p(x|y) that is bounded, not log p(x).
    """

    data: str
    split: str
    evaluated: str | None
    preparation: str
    support: str
    conditional: bool

    @classmethod
    def of(cls, data: ImageDataModule, model: LatentVariableModel) -> "Measure":
        """The measure of what `model` is found to be worth on `data`, which are set up."""
        return cls(
            data=data.source.name,
            split=data.split_hash,
            evaluated=data.eval_hash,
            preparation=data.preparation.describe(),
            support=model.likelihood.support.value,
            conditional=model.reads_labels,
        )

    def words(self) -> str:
        """What it is for people, but for the hashes that tell apart what is alike in words."""
        bounded = "log p(x|y)" if self.conditional else "log p(x)"
        return f"{self.data}, {self.preparation}, {self.support}, {bounded}"

    def __str__(self) -> str:
        return f"{self.words()} (split {self.split}, items {self.evaluated or 'streamed'})"
