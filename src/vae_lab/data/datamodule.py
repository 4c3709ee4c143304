"""The one LightningDataModule: any source, split, prepared for the likelihood, and served.

A set that fits in memory is kept whole, uint8, on the training device, and a batch is a gather by
index; one that does not is streamed by an ordinary DataLoader. Randomness is stateless: training
order and noise derive from (seed, epoch, batch, rank), evaluation noise from (eval_seed, item).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import lightning as L
import torch
from torch import Tensor

from vae_lab.data.images import Images, ImageSet
from vae_lab.data.loader import Loader, Picked
from vae_lab.data.preparation import Preparation, preparation_for
from vae_lab.data.source import Source
from vae_lab.data.split import carve
from vae_lab.errors import InputError, number, whole_number
from vae_lab.seeding import seeded_generator
from vae_lab.support import Support
from vae_lab.trace import Batch


class ImageDataModule(L.LightningDataModule):
    """Train, validation and test batches of a source, in [0, 1], with labels where it has them."""

    def __init__(
        self,
        source: Source,
        support: Support,
        seed: int,
        x_shape: Sequence[int] | None,
        num_classes: int | None,
        batch_size: int,
        val_size: float,
        test_size: float | None,
        split_seed: int | None,
        limit: int | None,
        binarize: bool | str,
        dequantize: bool | str,
        eval_seed: int,
        resident_gib: float,
        num_workers: int,
    ) -> None:
        """Nothing is read before `setup`. Raises InputError for sizes that make no sense.

        Args:
            source: Where the images come from.
            support: What x the likelihood is defined on; decides the preparation.
            seed: Of the training order and noise.
            x_shape: The shape of an image, a fact that is checked; None takes the data's word.
            num_classes: How many classes, likewise.
            batch_size: Items a process takes in one step.
            val_size: Items (1 or more) or share (below 1) of the training images that validate.
            test_size: The same for a test split, where the source has none of its own.
            split_seed: Of the random split; None takes the last items instead.
            limit: Keep this many items of each split, for a quick look.
            binarize: "auto", or True or False, which is checked against the likelihood.
            dequantize: Likewise.
            eval_seed: Of the noise in validation and test data, drawn once for every item.
            resident_gib: A set larger than this, in GiB, is streamed.
            num_workers: Processes that read a streamed set.
        """
        super().__init__()
        for name, count in (("batch_size", batch_size), ("limit", 1 if limit is None else limit)):
            whole_number(f"data.{name}", count, 1)
        for name, count in (("eval_seed", eval_seed), ("num_workers", num_workers)):
            whole_number(f"data.{name}", count, 0)
        number("data.resident_gib", resident_gib, 0)
        self.source, self.support, self.seed = source, support, seed
        self.x_shape = None if x_shape is None else tuple(x_shape)
        self.num_classes = num_classes
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_size, self.test_size, self.split_seed = val_size, test_size, split_seed
        self.limit, self.resident_gib = limit, resident_gib
        self.binarize, self.dequantize, self.eval_seed = binarize, dequantize, eval_seed
        self.splits: dict[str, ImageSet] = {}
        self.preparation: Preparation
        self.split_hash: str  # of the items of each split
        self.eval_hash: str | None = None  # of validation and test as prepared, where resident
        self.resident: bool
        self._on_device: dict[tuple[str, torch.device], Images] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read, split, check and prepare, once. Raises InputError for data that do not fit."""
        if self.splits:
            return
        splits = carve(self.source, self.val_size, self.test_size, self.split_seed, self.limit)
        train = splits["train"]
        self._check_facts(splits)
        self.preparation = preparation_for(
            self.support, train.is_8bit, self.binarize, self.dequantize
        )
        self.split_hash = _digest(splits.values())
        nbytes = sum(images.nbytes for images in splits.values())
        self.resident = nbytes <= self.resident_gib * 2**30
        if self.resident:
            splits = {name: images.in_memory() for name, images in splits.items()}
            for name in ("val", "test"):
                splits[name] = self._prepare_once(name, splits[name].in_memory())
            self.eval_hash = _digest([splits["val"], splits["test"]])
        self.splits = splits

    def _check_facts(self, splits: dict[str, ImageSet]) -> None:
        found = splits["train"].x_shape
        if self.x_shape is None:
            self.x_shape = found
        if self.x_shape != found:
            raise InputError(
                f"data.x_shape is {list(self.x_shape)}, but the images are {list(found)}: "
                f"set data.x_shape={list(found)}."
            )
        labels = [images.labels for images in splits.values() if images.labels is not None]
        if not labels:
            if self.num_classes is not None:
                raise InputError(
                    f"data.num_classes is {self.num_classes}, but the data have no labels: set "
                    "data.num_classes=null."
                )
            return
        every = torch.cat(labels)
        low, high = int(every.min()), int(every.max())
        if self.num_classes is None:
            self.num_classes = high + 1
        if low < 0 or high >= self.num_classes:
            raise InputError(
                f"labels reach from {low} to {high}, outside the {self.num_classes} classes "
                f"0..{self.num_classes - 1}: mend the labels, or set data.num_classes."
            )

    def _prepare_once(self, name: str, images: Images) -> Images:
        if not self.preparation.is_random or not len(images):
            return images
        return Images(self._prepare_fixed(name, images.pixels, range(len(images))), images.labels)

    def _prepare_fixed(self, name: str, pixels: Tensor, index: Sequence[int]) -> Tensor:
        """Evaluation data: each item's noise is its own, drawn on the CPU, whatever the batch."""
        return torch.stack(
            [
                self.preparation(item, seeded_generator(self.eval_seed, name, at))
                for item, at in zip(pixels.cpu(), index, strict=True)
            ]
        )

    # Serving: an index batch -> pixels on the device -> a prepared Batch.

    def train_dataloader(self) -> Loader:
        """This process's share of the training images, in this epoch's order."""
        return self._loader("train", self._train_order)

    def val_dataloader(self) -> Loader:
        """This process's share of the validation images: no item twice."""
        return self._loader("val", lambda: self._share(torch.arange(len(self.splits["val"]))))

    def test_dataloader(self) -> Loader:
        """This process's share of the test images: no item twice."""
        return self._loader("test", lambda: self._share(torch.arange(len(self.splits["test"]))))

    def batches(
        self, split: str, batch_size: int, device: torch.device, items: Tensor | None = None
    ) -> Iterator[Batch]:
        """Prepared batches of these items of a split (None: all), in order, without a trainer."""
        index = torch.arange(len(self.splits[split])) if items is None else items
        workers = None if self.resident else 0
        images = self.splits[split]
        for picked in Loader(split, images, lambda: index, lambda: 0, batch_size, workers):
            yield self.on_after_batch_transfer(self.transfer_batch_to_device(picked, device, 0), 0)

    def transfer_batch_to_device(
        self, batch: Picked, device: torch.device, dataloader_idx: int
    ) -> Picked:
        """Lightning's hook: gather the picked images on `device`."""
        if batch.fetched is None:
            where = (batch.split, device)
            if where not in self._on_device:
                self._on_device[where] = self.splits[batch.split].in_memory().to(device)
            index = batch.items.to(device)
            return batch._replace(items=index, fetched=self._on_device[where].gather(index))
        pixels, labels = batch.fetched
        if batch.split != "train" and self.preparation.is_random:
            pixels = self._prepare_fixed(batch.split, pixels, batch.items.tolist())
        on_device = (pixels.to(device), None if labels is None else labels.to(device))
        return batch._replace(items=batch.items.to(device), fetched=on_device)

    def on_after_batch_transfer(self, batch: Picked, dataloader_idx: int) -> Batch:
        """Lightning's hook: prepare the gathered images."""
        assert batch.fetched is not None
        pixels, labels = batch.fetched
        if batch.split == "train":
            x = self.preparation(pixels, self._train_noise(batch.number, pixels.device))
        elif self.preparation.is_random:  # evaluation data were prepared when drawn
            x = pixels
        else:
            x = self.preparation(pixels)
        return Batch(x, labels, batch.items)

    def _train_noise(self, number: int, device: torch.device) -> torch.Generator:
        epoch, rank, _ = self._place()
        return seeded_generator(self.seed, "data", epoch, number, rank, device=device)

    def _train_order(self) -> Tensor:
        epoch, _, num_processes = self._place()
        count = len(self.splits["train"])
        order = torch.randperm(count, generator=seeded_generator(self.seed, "order", epoch))
        return self._share(order[: count - count % num_processes])  # every process steps as often

    def _share(self, order: Tensor) -> Tensor:
        _, rank, num_processes = self._place()
        return order[rank::num_processes]

    def _place(self) -> tuple[int, int, int]:
        """Epoch, this process's rank, and how many there are."""
        trainer = self.trainer
        if trainer is None:
            return 0, 0, 1
        return trainer.current_epoch, trainer.global_rank, trainer.world_size

    def _loader(self, split: str, order: Callable[[], Tensor]) -> Loader:
        workers = None if self.resident else self.num_workers
        images, batch_size = self.splits[split], self.batch_size
        return Loader(split, images, order, lambda: self._place()[0], batch_size, workers)


def _digest(sets: Iterable[ImageSet]) -> str:
    return hashlib.sha256(b"".join(images.fingerprint() for images in sets)).hexdigest()[:12]
