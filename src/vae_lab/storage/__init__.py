"""What lies on the disk: files, run folders, checkpoints, and where numbers came from."""
