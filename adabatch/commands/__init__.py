"""The command line: one file per command, and :func:`main`, which every way of starting it calls.

A command imports its packages when it runs, so that ``--help`` is quick and a package that only another command
needs may be missing.
"""

from __future__ import annotations

import os
import sys

from adabatch.commands.own_packages import OWN, refuse_foreign_modules, resolve_own_packages
from adabatch.distributed.signals import interrupts

__all__ = ["main"]

THEORY_COMMANDS = frozenset({"claims", "prove", "verify-bounds"})
"""Commands whose packages come with the extra ``theory``; ``covers`` needs both extras, the others ``train``."""

resolve_own_packages()  # here rather than in main: a spawned worker imports this module, but does not call main


def main() -> None:
    """Run the command line; a user's mistake ends with one message and exit code 2."""
    try:
        with interrupts():  # also while typer and a command's packages are imported
            refuse_foreign_modules()
            from adabatch.commands.application import app

            app(prog_name="adabatch")
    except KeyboardInterrupt:  # before a command began
        raise SystemExit(130) from None
    except (ValueError, ModuleNotFoundError) as error:
        message = str(error) if isinstance(error, ValueError) else _missing(error)
        if message is None or "ADABATCH_TRACEBACK" in os.environ:
            raise
        print(f"Error: {message}", file=sys.stderr)
        raise SystemExit(2) from None


def _missing(error: ModuleNotFoundError) -> str | None:
    """Which extra brings a package that is not installed; None if it is one of adabatch's own."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "adabatch", *OWN):
        return None
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    extra = "theory" if command in THEORY_COMMANDS else "train,theory" if command == "covers" else "train"
    return f"adabatch {command} needs {package}: pip install 'adabatch[{extra}]'".replace("  ", " ")
