"""Several processes: their group, the signals that reach it, weights that they share out."""
