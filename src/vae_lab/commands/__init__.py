"""The ways in: train, evaluate, export, and a worker of a process group."""
