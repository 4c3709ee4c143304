"""The one LightningDataModule: any source, split, prepared for the likelihood, and served.

Randomness is stateless: training order and noise derive from (seed, epoch, batch, rank), evaluation
noise from (eval_seed, item).
"""

from collections.abc import Callable, Iterator

import lightning as L
import torch
from torch import Tensor

from vae_lab.data.loader import Loader, Picked
from vae_lab.data.preparation import preparation_for
from vae_lab.data.residency import PreparedSplits
from vae_lab.data.settings import DataSettings
from vae_lab.data.source import Source
from vae_lab.data.split import read_splits
from vae_lab.seeding import seeded_generator
from vae_lab.support import Support
from vae_lab.trace import Batch


class ImageDataModule(L.LightningDataModule):
    """Serve train, validation and test batches of a source, in [0, 1], with labels if it has any.

    Ready once built: all is read, split, checked and prepared.
    """

    def __init__(self, source: Source, settings: DataSettings, support: Support, seed: int) -> None:
        """Read the data. Raises InputError where they are not as the settings say.

        Args:
            source: Where the images come from.
            settings: How they are split, prepared, kept and served.
            support: The values of x that the likelihood is defined on; decides the preparation.
            seed: Of the training order and noise.
        """
        super().__init__()
        found = read_splits(source, settings)
        self.source, self.seed, self.eval_seed = source, seed, settings.eval_seed
        self.batch_size, self.num_workers = settings.batch_size, settings.num_workers
        self.x_shape, self.num_classes = found.x_shape, found.num_classes
        self.split_hash = found.split_hash
        self.preparation = preparation_for(
            support, found.sets["train"].is_8bit, settings.binarize, settings.dequantize
        )
        self.stored = found.sets  # by split, before any preparation
        self._prepared = PreparedSplits(found.sets, self.preparation, settings)
        self.splits, self.eval_hash = self._prepared.sets, self._prepared.eval_hash

    def setup(self, stage: str | None = None) -> None:
        """Lightning's hook: nothing is left to do."""

    def train_dataloader(self) -> Loader:
        return self._loader("train", self._train_order, self.batch_size, self.num_workers)

    def val_dataloader(self) -> Loader:
        return self._eval_loader("val")

    def test_dataloader(self) -> Loader:
        return self._eval_loader("test")

    def transfer_batch_to_device(
        self, batch: Picked, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Lightning's hook: gather the picked images on `device`, prepared."""
        epoch, rank, _ = self._place()
        noise = seeded_generator(self.seed, "data", epoch, batch.number, rank, device=device)
        return self._prepared.batch(batch, device, noise)

    def batches(
        self, split: str, batch_size: int, device: torch.device, items: Tensor | None = None
    ) -> Iterator[Batch]:
        """Prepared batches of a split, in order, without a trainer.

        Args:
            split: "train", "val" or "test".
            batch_size: Items in each, but for the last.
            device: Where they are gathered.
            items: Positions (N,) of those that are wanted; None takes all.
        """
        index = torch.arange(len(self.splits[split])) if items is None else items
        for picked in self._loader(split, lambda: index, batch_size, num_workers=0):
            yield self.transfer_batch_to_device(picked, device, 0)

    def random_items(self, split: str, most: int, device: torch.device, seed: int) -> Batch:
        """At most so many items of a split, chosen at random: files are often sorted by class."""
        return next(self.batches(split, most, device, self.random_index(split, most, seed)))

    def random_index(self, split: str, most: int, seed: int) -> Tensor:
        """The positions of these items in the split, in random order."""
        count = len(self.splits[split])
        return torch.randperm(count, generator=seeded_generator(seed, "some"))[:most]

    def _loader(
        self, split: str, order: Callable[[], Tensor], batch_size: int, num_workers: int
    ) -> Loader:
        stream = None if self._prepared.is_resident else self.splits[split]
        return Loader(split, order, lambda: self._place()[0], batch_size, stream, num_workers)

    def _eval_loader(self, split: str) -> Loader:
        """This process's share, no item twice."""
        every = torch.arange(len(self.splits[split]))
        return self._loader(split, lambda: self._share(every), self.batch_size, self.num_workers)

    def _train_order(self) -> Tensor:
        """This process's share, in this epoch's order; every process steps as often."""
        epoch, _, num_processes = self._place()
        count = len(self.splits["train"])
        order = torch.randperm(count, generator=seeded_generator(self.seed, "order", epoch))
        return self._share(order[: count - count % num_processes])

    def _share(self, order: Tensor) -> Tensor:
        _, rank, num_processes = self._place()
        return order[rank::num_processes]

    def _place(self) -> tuple[int, int, int]:
        """Epoch, this process's rank, and how many there are."""
        trainer = self.trainer
        if trainer is None:
            return 0, 0, 1
        return trainer.current_epoch, trainer.global_rank, trainer.world_size
