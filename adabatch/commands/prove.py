"""``adabatch prove``."""

from __future__ import annotations

from typing import Annotated

import typer


def prove(
    names: Annotated[list[str] | None, typer.Argument(help="Names of proofs, such as L5; all if none.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print each derivation, step by step.")] = False,
    write_docs: Annotated[bool, typer.Option("--write-docs", help="Write docs/theory.md and stop.")] = False,
) -> None:
    """Check the proofs by machine, step by step.

    Exit code 1 if a step of any of them does not hold.
    """
    if write_docs:
        from proofs.rendering import write_theory_page

        typer.echo(f"wrote {write_theory_page()}")
        return
    from proofs.report import selected, show_derivations, show_table

    chosen = selected(names or [])
    holds = show_derivations(chosen) if show else show_table(chosen)
    raise typer.Exit(0 if holds else 1)
