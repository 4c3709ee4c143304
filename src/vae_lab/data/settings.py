"""What is asked of any dataset, whatever its source."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from vae_lab.arguments import Count, Natural, NonNegative, Seed, Sizes, check_fields

Size = Annotated[float, Ge(0), Lt(1)] | Natural
"""A share, or a number of items."""


@dataclass(frozen=True)
class DataSettings:
    """The settings that all datasets share; `conf/data/_common.yaml` gives their defaults.

    Raises InputError for a value that makes no sense.

    Attributes:
        x_shape: The shape of an image, a fact that is checked; None takes the data's word.
        num_classes: How many classes the labels tell apart, likewise.
        batch_size: Items that a process takes in one step.
        val_size: Items (1 or more) or share (below 1) of the training images that validate.
        test_size: The same for a test split, where the source has none of its own; None is 0.
        split_seed: Of the random split; None takes the last items instead.
        limit: Keep this many items of each split, for a quick look; None keeps all.
        binarize: "auto" follows the likelihood; True or False is checked against it.
        dequantize: Likewise.
        eval_seed: Of the noise in validation and test images, drawn once for every item.
        resident_gib: Images that take more than this, in GiB, are streamed.
        num_workers: Processes that read streamed images.
    """

    x_shape: Sizes | None
    num_classes: Count | None
    batch_size: Count
    val_size: Size
    test_size: Size | None
    split_seed: Seed | None
    limit: Count | None
    binarize: Literal["auto"] | bool
    dequantize: Literal["auto"] | bool
    eval_seed: Seed
    resident_gib: NonNegative
    num_workers: Natural

    def __post_init__(self) -> None:
        check_fields(self, "data")
