"""How far images are from each other as a network sees them that was trained to tell them apart.

Johnson, Alahi and Fei-Fei, Perceptual Losses for Real-Time Style Transfer and Super-Resolution,
2016 (https://arxiv.org/abs/1603.08155); channels scaled to one length as by Zhang et al., The
Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018
(https://arxiv.org/abs/1801.03924), without what that fits to people's judgement.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class PerceptualDistance(nn.Module):
    """The squared distance of a fixed network's maps of two images: a mean over places, no unit.

    Its maps are what the network's activations give that are still images, each pixel of them
    scaled to length 1; the distances of all maps are summed.
    """

    def __init__(self, network: nn.Sequential) -> None:
        """`network` is from images (N, C, H, W), trained; it is fixed, and stays in eval mode."""
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "PerceptualDistance":
        """Stay in eval mode: statistics of a batch would mix its data."""
        super().train(False)
        return self

    def forward(self, made: Tensor, x: Tensor) -> Tensor:
        """Of images made, (*batch, B, C, H, W), from x, (B, C, H, W); (*batch, B)."""
        with torch.no_grad():
            of_x = list(self._maps(x))
        total = torch.zeros(made.shape[:-3], dtype=made.dtype, device=made.device)
        for ours, theirs in zip(self._maps(made.flatten(0, -4)), of_x, strict=True):
            apart = ours.unflatten(0, made.shape[:-3]) - theirs
            total = total + apart.square().sum(-3).mean((-2, -1))
        return total

    def _maps(self, image: Tensor) -> Iterator[Tensor]:
        """Each (N, channels, height, width), of images (N, C, H, W)."""
        for layer in self.network:
            image = layer(image)
            if image.dim() != 4:
                return
            if isinstance(layer, nn.GELU):
                yield normalize(image, dim=1)
