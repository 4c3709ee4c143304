"""Distributions that torch lacks, or has otherwise than is needed here."""

import torch

Size = torch.Size | list[int] | tuple[int, ...]
"""A shape, as the methods of torch.distributions take it."""
