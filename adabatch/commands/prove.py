"""``adabatch prove``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.values import number
from adabatch.cores import visible_cores
from adabatch.distributed.workers import worker_pool
from adabatch.ranges import Range


def prove(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of proofs, such as L5; all if none. 'certificates', perhaps with .npz files: verify the "
            "certificates of Theorem 3 for all states and laws (minutes)."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print each derivation, step by step.")] = False,
    write_docs: Annotated[bool, typer.Option("--write-docs", help="Write docs/theory and stop.")] = False,
    margin: Annotated[
        float,
        typer.Option(
            **number(float, Range(0.001, 0.5)),
            help="certificates: the share by which J is lowered, and 0.6 of which lambda is raised, before they "
            "are verified; smaller reaches a larger eta and takes longer.",
        ),
    ] = 0.05,
) -> None:
    """Check the proofs by machine, step by step.

    Exit code 1 if a step of any of them does not hold. Without names, boxes of each verified certificate are
    settled again too.
    """
    if names and names[0] == "certificates":
        raise typer.Exit(0 if _certificates([Path(name) for name in names[1:]], margin) else 1)
    if write_docs:
        from proofs.pages import write_pages

        for path in write_pages():
            typer.echo(f"wrote {path}")
        return
    from proofs.report import selected, show_derivations, show_table

    chosen = selected(names or [])
    holds = show_derivations(chosen) if show else show_table(chosen)
    if not names and not show:
        from proofs.certificates.report import spot_check

        holds = spot_check() and holds
    raise typer.Exit(0 if holds else 1)


def _certificates(paths: list[Path], margin: float) -> bool:
    from proofs.certificates.report import verify_files

    for path in paths:
        if not path.is_file():
            raise ValueError(f"no file {path}: give .npz files of certificates, or none for those of the package")
    return verify_files(paths, margin, visible_cores(), worker_pool)
