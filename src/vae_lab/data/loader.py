"""Batches of one split, in an order that depends on (seed, epoch, rank) alone."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from vae_lab.data.images import ImageSet
from vae_lab.errors import InputError


class Picked:
    """What a loader yields: which images, before they are gathered and prepared.

    No tuple and no dataclass, whose items Lightning would look through at every step.
    """

    def __init__(
        self,
        split: str,
        number: int,
        items: Tensor,
        fetched: tuple[Tensor, Tensor | None] | None,
    ) -> None:
        """Say which.

        Args:
            split: "train", "val" or "test".
            number: Of the batch within the epoch.
            items: Their positions, (B,).
            fetched: Pixels and labels, where the set is streamed.
        """
        self.split, self.number, self.items, self.fetched = split, number, items, fetched


class Loader:
    """Yields index batches of a resident set; fetches the images themselves of a streamed one.

    Stateful as Lightning understands it: a loader given the state of another goes on behind the
    batch that it yielded last.
    """

    def __init__(
        self,
        split: str,
        order: Callable[[], Tensor],
        epoch: Callable[[], int],
        batch_size: int,
        stream: ImageSet | None,
        num_workers: int,
    ) -> None:
        """`order` gives this epoch's positions, (N of this process,); `epoch` says which it is.

        `num_workers` processes fetch images from `stream`; where that is None, the device gathers
        them itself.
        """
        self.split, self.order, self.epoch, self.batch_size = split, order, epoch, batch_size
        self.stream, self.num_workers = stream, num_workers
        self._place = self._start = {"epoch": -1, "yielded": 0}

    def state_dict(self) -> dict[str, int]:
        """How many batches have been yielded, of which epoch."""
        return dict(self._place)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the epoch of `state` behind the batches that were yielded already."""
        self._start = dict(state)

    def __len__(self) -> int:
        return -(-len(self.order()) // self.batch_size)

    def __iter__(self) -> Iterator[Picked]:
        epoch = self.epoch()
        first = self._start["yielded"] if self._start["epoch"] == epoch else 0
        self._place, self._start = {"epoch": epoch, "yielded": first}, {"epoch": -1, "yielded": 0}
        for picked in self._pick(first):
            self._place["yielded"] += 1
            yield picked

    def _pick(self, first: int) -> Iterator[Picked]:
        batches = self.order().split(self.batch_size)[first:]
        if self.stream is None:
            for number, index in enumerate(batches, first):
                yield Picked(self.split, number, index, None)
            return
        fetching = DataLoader(
            self.stream,
            batch_sampler=[index.tolist() for index in batches],
            num_workers=self.num_workers,
            collate_fn=_as_fetched,
        )
        try:
            for number, (index, fetched) in enumerate(zip(batches, fetching, strict=True), first):
                yield Picked(self.split, number, index, fetched)
        except InputError as error:  # from a worker it comes wrapped in that worker's traceback
            raise InputError(str(error).rpartition("InputError: ")[2].strip()) from error


def _as_fetched(batch: Any) -> Any:
    return batch  # `ImageSet.__getitems__` has gathered it already
