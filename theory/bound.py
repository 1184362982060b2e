"""What a theorem returns: the bound together with the constants and terms it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adabatch.moments.numeric import Value

__all__ = ["Bound"]


@dataclass(frozen=True)
class Bound:
    """A theorem's upper bound, evaluated.

    Attributes:
        value: the bound itself (float, array or SymPy expression).
        theorem: which statement gave it, for example ``"Theorem 1 (corrected), bound (2)"``.
        quantity: what is bounded.
        constants: the constants that depend on betas, eta and the problem only, by name.
        terms: the parts the value is assembled from, by name.
        parameters: free parameters of the proof that were chosen, by name (empty if there are none).
        tight: True where equality is attained in a limit, so that a ratio near 1 is to be expected.
    """

    value: Value
    theorem: str
    quantity: str = "sum_k E||grad L(w_k)||_1"
    constants: Mapping[str, Value] = field(default_factory=dict)
    terms: Mapping[str, Value] = field(default_factory=dict)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    tight: bool = False
