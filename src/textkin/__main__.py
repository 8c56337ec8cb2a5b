"""``python -m textkin``: the same as the ``textkin`` command."""

from textkin.cli.main import main

if __name__ == "__main__":
    main(prog_name="textkin")
