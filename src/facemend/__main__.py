"""`python -m facemend`: the command line, for launchers that start modules (torchrun)."""

from facemend.cli.app import main

if __name__ == "__main__":
    main()
