"""`python -m vae_lab train ...`, where `vae-lab` is not on the path."""

from vae_lab.commands.main import main

if __name__ == "__main__":
    main()
