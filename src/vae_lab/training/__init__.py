"""Training: the one LightningModule, its step, its checkpoints."""
