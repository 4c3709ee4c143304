"""Data: sources of images, their preparation, and the one LightningDataModule that serves them."""

from vae_lab.data.cifar10 import CIFAR10
from vae_lab.data.datamodule import ImageDataModule
from vae_lab.data.digits import Digits
from vae_lab.data.folder import Folder
from vae_lab.data.glyphs import Glyphs
from vae_lab.data.images import ImageFiles, Images, ImageSet
from vae_lab.data.mnist import MNIST
from vae_lab.data.omniglot import Omniglot
from vae_lab.data.preparation import Preparation
from vae_lab.data.settings import DataSettings
from vae_lab.data.source import Source
from vae_lab.data.tensors import Tensors
from vae_lab.data.torchvision import Torchvision

__all__ = [
    "CIFAR10",
    "MNIST",
    "DataSettings",
    "Digits",
    "Folder",
    "Glyphs",
    "ImageDataModule",
    "ImageFiles",
    "ImageSet",
    "Images",
    "Omniglot",
    "Preparation",
    "Source",
    "Tensors",
    "Torchvision",
]
