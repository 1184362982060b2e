"""``python -m adabatch``, also under torchrun: ``torchrun ... -m adabatch train ...``."""

import sys

from adabatch.commands import main

if __name__ == "__main__":
    # Without the spec, a spawned worker runs this file as it runs the console script, and so imports the above.
    sys.modules["__main__"].__spec__ = None
    main()
