"""``adabatch claims``."""

from __future__ import annotations

from typing import Annotated

import typer


def claims(
    run: Annotated[
        bool, typer.Option("--run", help="Check every claim and its proofs; show the numbers.")
    ] = False,
    show: Annotated[
        str | None, typer.Option(help='Check one claim, such as "Thm B.1", and show all of it.')
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """The paper's claims, each with its verdict and what checks it.

    Exit code 1 if a check does not confirm the verdict on record.
    """
    from proofs.claims_report import show_claim, show_claims, show_json
    from theory.audit.claims import CLAIMS, find_claim

    if show is not None:
        claim = find_claim(show)
        confirmed = show_json([claim], check=True) if json else show_claim(claim)
    else:
        confirmed = show_json(CLAIMS, check=run) if json else show_claims(check=run)
    raise typer.Exit(0 if confirmed else 1)
