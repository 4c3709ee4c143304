"""The ways in: train, evaluate, gradients, estimators, export, and a worker of a process group."""
