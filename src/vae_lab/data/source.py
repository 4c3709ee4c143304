"""What every dataset promises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from vae_lab.data.images import ImageSet


class Source(ABC):
    """Where images come from. A new dataset is one of these in one file, and one YAML."""

    name: str
    factor_names: Sequence[str] = ()  # of the columns of its images' `factors`, where it knows them

    @abstractmethod
    def read(self) -> tuple[ImageSet, ImageSet | None]:
        """The training images, and the test images where the dataset keeps them apart.

        Raises InputError, naming the fix, where the data are missing or damaged.
        """
