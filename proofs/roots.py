"""Square roots of the betas and eta made rational, so that identities between them are exact.

r = beta1 / sqrt(beta2), q = sqrt(beta2) and eta are parametrised like Pythagorean triples.
"""

from __future__ import annotations

from math import prod
from typing import Any

import sympy
from sympy.polys.fields import field

__all__ = ["noise", "open_roots", "q", "r", "rational_zero", "rationalized"]

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


def _is_root(part: Any) -> bool:
    return bool(part.is_Pow and part.exp.is_Rational and part.exp.q == 2)


def open_roots(expression: Any) -> Any:
    """Square roots of perfect squares of positive symbols are taken."""
    return expression.replace(_is_root, lambda root: sympy.powdenest(sympy.factor(root.base) ** root.exp))


def _split_root(power: Any) -> Any:
    """The root of a product of positive factors as a product of roots: sqrt(2 x^2 + 2) meets sqrt(x^2 + 1)."""
    number, factors = sympy.factor_list(power.base)
    if number < 0 or not all(factor.is_positive for factor, _ in factors):
        return power
    return sympy.Mul(sympy.sqrt(number), *(sympy.sqrt(factor) ** n for factor, n in factors)) ** power.exp.p


def rational_zero(expression: Any) -> bool:
    """Whether an expression in symbols and square roots is zero, by arithmetic in their field.

    This is much faster than expanding. A root is one more generator, whose square is what stands under it. Roots
    that are related otherwise are not recognised: then False may be wrong, but True never is.

    Example:
        >>> x = sympy.Symbol("x", positive=True)
        >>> rational_zero(sympy.sqrt(2 * x**2 + 2) ** 2 / (x**2 + 1) - 2), rational_zero(sympy.sqrt(x + 1) - 1)
        (True, False)
    """
    opened = sympy.sympify(expression).replace(_is_root, _split_root)
    roots = sorted({sympy.sqrt(p.base) for p in opened.atoms(sympy.Pow) if _is_root(p)}, key=str)
    symbols = sorted(opened.free_symbols, key=str)
    if not symbols:
        return False
    domain, *generators = field([*symbols, *(sympy.Dummy(f"w{i}") for i in range(len(roots)))], sympy.QQ)
    known = dict(zip([*symbols, *roots], generators, strict=True))

    def value(part: Any) -> Any:
        if part not in known:
            known[part] = opened_part(part)
        return known[part]

    def opened_part(part: Any) -> Any:
        if part.is_Rational:
            return domain(sympy.QQ(part.p, part.q))
        if part.is_Add or part.is_Mul:
            values = [value(term) for term in part.args]
            return sum(values[1:], values[0]) if part.is_Add else prod(values[1:], start=values[0])
        if _is_root(part):
            return known[sympy.sqrt(part.base)] ** part.exp.p
        if part.is_Pow and part.exp.is_Integer:
            return value(part.base) ** int(part.exp)
        raise TypeError(f"{part} is not rational in symbols and roots")

    total = value(opened)
    for index, root in enumerate(roots, len(symbols)):
        squared, below = value(root.base), domain(0)
        for exponents, coefficient in total.numer.terms():
            rest = [(g, n) for i, (g, n) in enumerate(zip(generators, exponents, strict=True)) if i != index]
            odd = generators[index] if exponents[index] % 2 else domain(1)
            term = prod((g**n for g, n in rest if n), start=domain(coefficient) * odd)
            below = below + term * squared ** (exponents[index] // 2)
        total = below
    return bool(total == 0)
