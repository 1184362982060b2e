r"""Sequences of any length by their general term: theory's own functions can be evaluated for any n.

A function that adds up over coordinates, cells or groups takes arrays. Here it takes a term for all indices, and
the sum over the indices is looked up among the sums that a proof has named.

Example:
    >>> g, v, total, trace = sympy.symbols("g v S t", positive=True)
    >>> sums = {g: total, v**2: trace}
    >>> ((3 * Terms(g, sums) * Terms(v, sums)) / Terms(v, sums)).sum() / Terms(v, sums).__pow__(2).sum(axis=-1)
    3*S/t
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["Terms"]

_OPERATIONS: dict[Any, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.power: operator.pow,
    np.sqrt: sympy.sqrt,
    np.equal: operator.eq,
}


class Terms(NDArrayOperatorsMixin):
    """The general term of a sequence; it equals a number only where all entries do.

    Args:
        term: in symbols that stand for the entries.
        sums: the named sum of each term that is summed.
    """

    def __init__(self, term: Any, sums: Mapping[Any, Any]) -> None:
        self.term, self.sums = sympy.sympify(term), sums

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Entry by entry."""
        if ufunc not in _OPERATIONS or method != "__call__" or options:
            return NotImplemented
        values = (x.term if isinstance(x, Terms) else np.asarray(x, dtype=object).item() for x in inputs)
        found = _OPERATIONS[ufunc](*values)
        return found if isinstance(found, bool) else Terms(found, self.sums)

    def sum(self, axis: int | None = None) -> Any:
        """Over all indices, by its name.

        Raises:
            ValueError: if no multiple of the term has a name.
        """
        entries = set().union(*(known.free_symbols for known in self.sums))
        for known, name in self.sums.items():
            factor = sympy.simplify(self.term / known)
            if not factor.free_symbols & entries:
                return factor * name
        raise ValueError(f"the sum of {self.term} has no name")
