"""M, the micro-batches of a step, as an int that counts from where the step begins.

The ``transformers`` Trainer and Lightning step the optimizer where a count of micro-batches, from the epoch's
start, is a multiple of M. As soon as M varies such multiples fall into the middle of a step.
"""

from __future__ import annotations

__all__ = ["Accumulation", "require_own"]


class Accumulation(int):
    """M micro-batches of a window; remainders are counted from ``start``, the micro-batch that begins it.

    Copies and pickles are the plain number that the user gave: a checkpoint keeps the arguments as they were.

    >>> steps = Accumulation(3, start=4, given=2)
    >>> [count % steps for count in (4, 5, 6, 7)], steps == 3
    ([0, 1, 2, 0], True)
    """

    start: int
    given: int

    def __new__(cls, value: int, start: int = 0, given: int = 1) -> Accumulation:
        """An int that remembers where counting starts, and what the arguments had in its place."""
        steps = super().__new__(cls, value)
        steps.start, steps.given = start, given
        return steps

    def __rmod__(self, count: int) -> int:
        """``count % self``, which Python asks a subclass of int for first."""
        return (count - self.start) % int(self)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """For copies and pickles: the Trainer saves its arguments."""
        return int, (self.given,)


def require_own(present: int, window: int, name: str) -> None:
    """Raise unless the accumulation is still the callback's very object.

    Raises:
        RuntimeError: if something else has set it.

    >>> require_own(2, Accumulation(2), "accumulate_grad_batches")
    Traceback (most recent call last):
    RuntimeError: accumulate_grad_batches was changed from 2 to 2 during training, changed by something else ...
    """
    if present is not window:
        raise RuntimeError(
            f"{name} was changed from {int(window)} to {present} during training, changed by something else than "
            "this callback: give the callback a schedule instead"
        )
