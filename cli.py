"""The ``adabatch`` command from a clone, without installing it: ``python cli.py train --preset demo``."""

from adabatch.commands import main

if __name__ == "__main__":
    main()
