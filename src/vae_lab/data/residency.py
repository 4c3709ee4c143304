"""Where images are kept, and when they are prepared."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vae_lab.data.images import Images, ImageSet, digest
from vae_lab.data.loader import Picked
from vae_lab.data.preparation import AS_STORED, Preparation
from vae_lab.data.settings import DataSettings
from vae_lab.seeding import seeded_generator
from vae_lab.trace import Batch


class PreparedSplits:
    """Serve prepared batches of images that lie whole on the device, or are streamed.

    Images that fit in memory are kept there, uint8, and a batch is a gather by index on the device
    that asks; others are fetched as they are needed. Training images are prepared anew at every
    use. Evaluation images are prepared once: each item's noise is drawn on the CPU from (eval_seed,
    split, item), so it is the same in any batch, on any device, kept or streamed.
    """

    def __init__(
        self, sets: dict[str, ImageSet], preparation: Preparation, settings: DataSettings
    ) -> None:
        """Read what is kept in memory, and draw its evaluation noise.

        Args:
            sets: The images as stored, by split: "train", "val" and "test".
            preparation: What is done to them.
            settings: `eval_seed` and `resident_gib` are read.
        """
        self.sets, self.preparation, self.eval_seed = sets, preparation, settings.eval_seed
        self.eval_hash: str | None = None  # of validation and test as prepared, where kept
        self.is_resident = sum(s.nbytes for s in sets.values()) <= settings.resident_gib * 2**30
        self._on_device: dict[tuple[str, torch.device], Images] = {}
        if self.is_resident:
            whole = {name: images.in_memory() for name, images in sets.items()}
            for name in ("val", "test"):
                pixels = whole[name].pixels
                prepared = self._prepared_once(name, pixels, range(len(pixels)))
                whole[name] = replace(whole[name], pixels=prepared)
            self.eval_hash = digest([whole["val"], whole["test"]])
            self.sets = dict(whole)

    def batch(self, picked: Picked, device: torch.device, noise: torch.Generator) -> Batch:
        """Gather the picked images on `device`, prepared; `noise` is that of training images."""
        items = picked.items.to(device, non_blocking=True)  # the host need not wait for a GPU
        pixels, labels = self._pixels(picked, items)
        # What noise evaluation images have was drawn already.
        x = self.preparation(pixels, noise) if picked.split == "train" else AS_STORED(pixels)
        return Batch(x, labels, items)

    def _pixels(self, picked: Picked, items: Tensor) -> tuple[Tensor, Tensor | None]:
        device = items.device
        if picked.fetched is None:
            where = (picked.split, device)
            if where not in self._on_device:
                self._on_device[where] = self.sets[picked.split].in_memory().to(device)
            return self._on_device[where].gather(items)
        pixels, labels = picked.fetched
        if picked.split != "train":
            pixels = self._prepared_once(picked.split, pixels, picked.items.tolist())
        return pixels.to(device), None if labels is None else labels.to(device)

    def _prepared_once(self, split: str, pixels: Tensor, items: Sequence[int]) -> Tensor:
        if not self.preparation.is_random or not len(pixels):
            return pixels
        noise = (seeded_generator(self.eval_seed, split, item) for item in items)
        return torch.stack([self.preparation(*one) for one in zip(pixels, noise, strict=True)])
