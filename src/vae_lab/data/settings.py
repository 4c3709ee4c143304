"""What is asked of any dataset, whatever its source."""

from collections.abc import Sequence
from dataclasses import dataclass

from vae_lab.errors import number, whole_number


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

    x_shape: Sequence[int] | None
    num_classes: int | None
    batch_size: int
    val_size: float
    test_size: float | None
    split_seed: int | None
    limit: int | None
    binarize: bool | str
    dequantize: bool | str
    eval_seed: int
    resident_gib: float
    num_workers: int

    def __post_init__(self) -> None:
        for size in self.x_shape or ():
            whole_number("data.x_shape", size, 1)
        if self.num_classes is not None:
            whole_number("data.num_classes", self.num_classes, 1)
        if self.split_seed is not None:
            whole_number("data.split_seed", self.split_seed, 0)
        if self.limit is not None:
            whole_number("data.limit", self.limit, 1)
        whole_number("data.batch_size", self.batch_size, 1)
        whole_number("data.eval_seed", self.eval_seed, 0)
        whole_number("data.num_workers", self.num_workers, 0)
        number("data.val_size", self.val_size, 0)
        number("data.test_size", self.test_size or 0, 0)
        number("data.resident_gib", self.resident_gib, 0)
