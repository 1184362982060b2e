"""Square roots of the betas and eta made rational, so that identities between them are exact.

r = beta1 / sqrt(beta2), q = sqrt(beta2) and eta are parametrised like Pythagorean triples.
"""

from __future__ import annotations

from typing import Any

import sympy

__all__ = ["noise", "open_roots", "q", "r", "rationalized"]

r, q = sympy.symbols("r q", positive=True)
noise = sympy.Symbol("eta", nonnegative=True)


def rationalized(expression: Any) -> Any:
    """The expression in x, y, z > 0 with r = (1-x^2)/(1+x^2), q = (1-y^2)/(1+y^2), eta = (z-1/z)/2.

    x and y in (0, 1) and z >= 1 give every admissible r, q and eta. What stands under no root stays.
    """
    x, y, z = sympy.symbols("x y z", positive=True)
    triples = {r: (1 - x**2) / (1 + x**2), q: (1 - y**2) / (1 + y**2), noise: (z - 1 / z) / 2}
    opened = open_roots(sympy.sympify(expression))
    under = set[Any]().union(
        *(p.free_symbols for p in opened.atoms(sympy.Pow) if p.exp.is_Rational and p.exp.q == 2)
    )
    return open_roots(opened.subs({name: value for name, value in triples.items() if name in under}))


def open_roots(expression: Any) -> Any:
    """Square roots of perfect squares of positive symbols are taken."""

    def is_root(part: Any) -> bool:
        return bool(part.is_Pow and part.exp.is_Rational and part.exp.q == 2)

    return expression.replace(is_root, lambda root: sympy.powdenest(sympy.factor(root.base) ** root.exp))
