"""All proofs of the project, in reading order.

A proof module is listed here by name; each of its :class:`~proofs.steps.Provable` functions is one entry.

Example:
    >>> find_proof("prop. 1").title
    'the coordinate-wise test gives strong growth'
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from proofs.steps import Proof, Provable

__all__ = ["MODULES", "all_proofs", "find_proof", "lemmas_with_conclusions", "proofs_of"]

MODULES: tuple[str, ...] = (
    "proofs.estimators.expectations",
    "proofs.estimators.weighted_groups",
    "proofs.adam.descent",
    "proofs.adam.l1_step",
    "proofs.adam.l2_decay",
    "proofs.adam.l3_freeze",
    "proofs.adam.l4_swap",
    "proofs.adam.l5_key_inequality",
    "proofs.adam.l5_epsilon",
    "proofs.adam.l6_descent",
    "proofs.adam.l7_denominators",
    "proofs.adam.l8_self_bounding",
    "proofs.adam.multipliers",
    "proofs.adam.theorem1",
    "proofs.audit.published_adam",
    "proofs.adam.variants",
    "proofs.other_optimizers.sgd",
    "proofs.other_optimizers.adagrad",
    "proofs.adam_sharp.mixture",
    "proofs.adam_sharp.uphill",
    "proofs.adam_sharp.energy",
    "proofs.adam_sharp.coupling",
    "proofs.adam_sharp.drift",
    "proofs.adam_sharp.growth",
    "proofs.adam_sharp.minorant",
    "proofs.adam_sharp.alignment",
    "proofs.adam_sharp.weights",
    "proofs.adam_sharp.windows",
    "proofs.adam_sharp.parameters",
    "proofs.adam_sharp.theorem2",
    "proofs.l1.theorem",
    "proofs.l1.theorem3",
    "proofs.l1.costs",
    "proofs.adam.normalized_step",
    "proofs.training.scalar_divergence",
    "proofs.training.clipping",
    "proofs.training.weight_decay",
    "proofs.training.step_schedules",
    "proofs.training.estimated_variance",
    "proofs.training.violated_steps",
    "proofs.samples.sgd",
    "proofs.samples.contraction",
    "proofs.samples.adam",
    "proofs.samples.growth",
    "proofs.samples.tails",
    "proofs.samples.relaxed_smoothness",
    "proofs.samples.a_posteriori",
    "proofs.schedules.elementary",
    "proofs.schedules.path",
    "proofs.schedules.sandwich_sgd",
    "proofs.schedules.sandwich_adam",
    "proofs.schedules.adam_descent",
    "proofs.schedules.convex_sgd",
    "proofs.schedules.shapes",
    "proofs.schedules.step_counts",
    "proofs.schedules.best_path",
    "proofs.schedules.limit",
)
"""The modules that hold proofs, lemmas before what uses them."""


@cache
def proofs_of(module_name: str) -> tuple[Proof, ...]:
    """The proofs of one module, built but not yet checked, in the order of its source."""
    module = importlib.import_module(module_name)
    found = [entry for entry in vars(module).values() if isinstance(entry, Provable)]
    return tuple(entry.proof for entry in found if entry.__module__ == module_name)


def lemmas_with_conclusions() -> tuple[Provable[Any], ...]:
    """What a composition may cite, in reading order."""
    modules = [(name, importlib.import_module(name)) for name in MODULES]
    found = [(name, entry) for name, m in modules for entry in vars(m).values() if isinstance(entry, Provable)]
    return tuple(entry for name, entry in found if entry.__module__ == name and entry.lemma.conclusions)


def all_proofs() -> tuple[Proof, ...]:
    """Every proof, built but not yet checked."""
    return tuple(proof for module in MODULES for proof in proofs_of(module))


def _key(name: str) -> str:
    return name.replace(" ", "").casefold()


def find_proof(name: str) -> Proof:
    """The proof of that name, ignoring case and spaces; a beginning will do if it is the only one.

    Raises:
        ValueError: for an unknown or ambiguous name; the message lists the known ones.
    """
    for module in MODULES:  # only as many modules are built as it takes
        for proof in proofs_of(module):
            if _key(proof.name) == _key(name):
                return proof
    proofs = all_proofs()
    beginnings = [proof for proof in proofs if _key(proof.name).startswith(_key(name))]
    if len(beginnings) == 1:
        return beginnings[0]
    known = "; ".join(proof.name for proof in (beginnings or proofs))
    problem = "ambiguous" if beginnings else "unknown"
    raise ValueError(f"{problem} proof {name!r}; known are: {known}")
