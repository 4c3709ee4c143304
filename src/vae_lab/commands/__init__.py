"""The ways in: those that `main` lists, and a worker of a process group."""
