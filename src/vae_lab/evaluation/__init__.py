"""Evaluation: metrics of a pass, evidence, label use, figures. All read Traces alone."""

from vae_lab.evaluation.evidence import evidence
from vae_lab.evaluation.metrics import BoundMetrics, LatentUnits, bits_per_dim

__all__ = ["BoundMetrics", "LatentUnits", "bits_per_dim", "evidence"]
