"""Sweeps: Hydra's hooks round their jobs, and the table over any runs."""
