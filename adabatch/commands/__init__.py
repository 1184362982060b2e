"""The command line: one file per command, and :func:`main`, which every way of starting it calls.

A command imports its packages when it runs, so that ``--help`` is quick and a package that only another command
needs may be missing.
"""

from __future__ import annotations

import os
import sys
import warnings

from adabatch.collecting import collecting_rarely
from adabatch.commands.own_packages import OWN, refuse_foreign_modules, resolve_own_packages
from adabatch.distributed.signals import (
    CONTINUES,
    QUIET_TRACKER,
    STOP_SIGNALS,
    end_at_once,
    listening,
    quiet_end,
    while_a_rank_starts,
)
from adabatch.exit_codes import USER_ERROR, signal_of_code
from adabatch.refusals import one_line, refusal_of
from adabatch.terminal import prepare_streams

__all__ = ["main"]

THEORY_COMMANDS = frozenset({"attack", "claims", "list", "prove", "verify-bounds"})
"""Commands whose packages come with the extra ``theory``; ``covers`` needs both extras, the others ``train``."""

CONTINUED = frozenset({"ablate", "branch", "compare", "prepare", "verify-bounds"})
"""Commands that, called again, take up their work where it ended."""

# Here rather than in main: a rank or a worker imports this module, but does not call main.
while_a_rank_starts()
resolve_own_packages()


def main() -> None:
    """Run the command line; a user's mistake ends with one message and exit code 2."""
    try:
        with collecting_rarely(), listening(_end):  # also while typer and a command's packages are imported
            prepare_streams()
            if QUIET_TRACKER not in sys.warnoptions:
                sys.warnoptions.append(QUIET_TRACKER)  # for the processes that a command starts
            warnings.formatwarning = _in_one_line
            _check_words()
            refuse_foreign_modules()
            from adabatch.commands.application import app

            code = app(prog_name="adabatch", standalone_mode=False)
        raise SystemExit(code or 0)  # None after a command that has returned
    except SystemExit as ended:
        _leave_if_stopped(ended.code)
        raise
    except Exception as error:
        message = _message(error)
        if message is None or "ADABATCH_TRACEBACK" in os.environ:
            raise
        if message:  # none where the help has been shown instead
            print(f"Error: {one_line(message)}", file=sys.stderr)
        raise SystemExit(USER_ERROR) from None


def _end(number: int) -> None:
    """Answer a stop signal; training, once its steps run, answers in its own way."""
    if os.environ.get("RANK", "0") != "0":
        quiet_end(number)
    end_at_once(number, CONTINUES if _command() in CONTINUED else "")


def _leave_if_stopped(code: object) -> None:
    """After a stop signal, without the seconds in which libraries tidy up a process that ends."""
    if isinstance(code, int) and signal_of_code(code) in STOP_SIGNALS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command() -> str:
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


def _in_one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """How a warning is printed: without the place in the code, which is not the user's."""
    del category, filename, lineno, line
    return f"warning: {one_line(str(message))}\n"


def _check_words() -> None:
    """Raise ValueError for an argument whose bytes cannot be read as text here: no file of a run could hold it."""
    for word in sys.argv[1:]:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"the argument {word!a} is not text in {sys.getfilesystemencoding()}: rename what it names, or "
                "set a UTF-8 locale"
            ) from None


def _message(error: Exception) -> str | None:
    """What a user has to know of an error; None of one that is not the user's to change."""
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, OSError):
        return refusal_of(error, [])
    if isinstance(error, ModuleNotFoundError):
        return _missing(error)
    if hasattr(error, "format_message"):  # typer's, of an option or argument that it does not take
        from adabatch.settings.not_offered import not_offered

        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else f"adabatch {_command()}".rstrip()
        text = not_offered(getattr(error, "option_name", "")) or error.format_message()
        return f"{text.rstrip('.')} (see {command} --help)" if text else ""
    return None


def _missing(error: ModuleNotFoundError) -> str | None:
    """Which extra brings a package that is not installed; None if it is one of adabatch's own."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "adabatch", *OWN):
        return None
    command = _command()
    extra = "theory" if command in THEORY_COMMANDS else "train,theory" if command == "covers" else "train"
    return f"adabatch {command} needs {package}: pip install 'adabatch[{extra}]'".replace("  ", " ")
