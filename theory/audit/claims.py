r"""Every claim of the paper that this project examined, with its verdict and what checks it.

Problem:
    Lau et al. state a norm test, estimators for it, an algorithm and a theorem on Adam. Which of these
    statements hold, which hold once corrected, which fail?

Algorithm:
    :data:`CLAIMS` lists them in the paper's order, as ``claims.toml`` states them. ``claim.check()`` computes a
    :class:`~theory.audit.evidence.ClaimEvidence`: the numbers on both sides of what the statement asserts, from
    which a verdict is derived. ``claim.verdict`` is the verdict on record; a check that comes to another one is
    a failure (``adabatch claims --run`` exits with 1).

    Where a statement holds, numbers alone do not establish it: ``claim.proofs`` names the machine-checked proofs.

References:
    Lau, Li, Xu, Liu, Kolar, "Adaptive Batch Size Schedules for Distributed Training of Language Models with Data
    and Model Parallelism", CPAL 2025, PMLR 280:278-304, arXiv 2412.21124.

Example:
    >>> claim = find_claim("Eq. 2")
    >>> str(claim.verdict), claim.check().headline
    ('holds corrected', 'variance of the mean over the mean left-hand side, n=4, b=2: 0.75 != 1')
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pkgutil import resolve_name
from typing import Any

from theory.audit.evidence import ClaimEvidence, Verdict

__all__ = ["CLAIMS", "Basis", "Claim", "find_claim"]


class Basis(StrEnum):
    """What a verdict rests on."""

    PROOF = "proof"
    ENUMERATION = "enumeration"
    COUNTEREXAMPLE = "counterexample"
    CLOSED_FORM = "closed form"
    SIMULATION = "simulation"


@dataclass(frozen=True)
class Claim:
    """One statement.

    Attributes:
        place: where the paper makes it, and the claim's name here: ``"Eq. 5"``, ``"Lemma B.2"``.
        statement: in plain words, as published.
        latex: as published, in LaTeX.
        verdict: on record.
        correction: the corrected statement or what is wrong, in plain words.
        methods: what the verdict rests on.
        check: computes the evidence; its keyword arguments are the parts of the statement.
        proofs: names of the proofs that establish what holds (see :mod:`proofs.registry`).
    """

    place: str
    statement: str
    latex: str
    verdict: Verdict
    correction: str
    methods: tuple[Basis, ...]
    check: Callable[..., ClaimEvidence]
    proofs: tuple[str, ...] = ()


def _claim(
    verdict: str, methods: list[str], check: str, proofs: list[str] | None = None, **statement: Any
) -> Claim:
    """A claim from its record in ``claims.toml``."""
    return Claim(
        verdict=Verdict(verdict),
        methods=tuple(Basis(method) for method in methods),
        check=resolve_name(f"theory.audit.checks.{check}"),
        proofs=tuple(proofs or ()),
        **statement,
    )


_RECORDS = tomllib.loads((files("theory.audit") / "claims.toml").read_text(encoding="utf-8"))["claims"]
CLAIMS: tuple[Claim, ...] = tuple(_claim(**record) for record in _RECORDS)
"""All claims, in the paper's order."""


def find_claim(place: str) -> Claim:
    """The claim of a place, ignoring case and spaces.

    Raises:
        ValueError: for an unknown place; the message lists the known ones.

    >>> find_claim("lemma b.2").place
    'Lemma B.2'
    """
    wanted = place.replace(" ", "").casefold()
    for claim in CLAIMS:
        if claim.place.replace(" ", "").casefold() == wanted:
            return claim
    known = "; ".join(claim.place for claim in CLAIMS)
    raise ValueError(f"unknown claim {place!r}; known are: {known}")
