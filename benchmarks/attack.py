"""The smallest bound / measured that a search finds for each theorem, and whether a bound 10% smaller is broken.

    python benchmarks/attack.py [--seconds 60] [--processes 2] [--only theorem-1] [--all] [--known] [--write]

A minute on two cores each, from nothing; with ``--known`` from the rows, as ``adabatch attack`` does. Known: what
earlier searches found, with other code, more time and, for Theorem 2, its earlier constants. Without ``--all`` one
or two settings for each theorem. With ``--write`` what is nearer to 1 than the row of
``simulate/attack/near_tight.jsonl`` replaces it, for ``verify-bounds --experiment near-tight``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simulate.attack.comparison import ratios
from simulate.attack.instance import Instance, near_tight_instances
from simulate.attack.search import attack
from simulate.attack.space import DIMENSION, SMOOTHNESS, STEP_SIZE, Space
from simulate.attack.targets import rule_of

FILE = Path(__file__).parent.parent / "simulate" / "attack" / "near_tight.jsonl"
BROKEN = 1 / 0.9


def space(
    bound: str, steps: int, *at: float, free: str = "v0", positive: bool = False, quiet: int = 0, **more: Any
) -> Space:
    """A search for a bound at beta1, beta2 and eta, or at eta alone."""
    named = dict(zip(("eta",) if len(at) == 1 else ("beta1", "beta2", "eta"), at, strict=True))
    fixed = {"bound": bound, "dimension": DIMENSION, "smoothness": SMOOTHNESS, "step_size": STEP_SIZE}
    return Space(steps, fixed | named | more, tuple(free.split()), positive, quiet)


BIAS: dict[str, Any] = {"optimizer": "adam,bias_correction=True"}
L1: dict[str, Any] = {"averaged": "l1"}
VARIANCE: dict[str, Any] = {"averaged": "variance"}
BOTH, ALL = "v0 epsilon", "v0 epsilon multipliers"

THEOREMS = (
    (space("theorem-1-plain", 7, 0.0, 1e-6, 0.3), 1.07),
    (space("preconditioned-sum", 7, 0.0, 1e-6, 0.3, free=BOTH), None),
    (space("theorem-1", 7, 0.0, 1e-4, 0.5, free=BOTH, positive=True), None),
    (space("theorem-1", 0, 0.0, 1e-4, 0.0, free=BOTH, positive=True, quiet=500), 1.0005),
    (space("theorem-2", 6, 0.0, 1e-6, 0.3), 1.08),
    (space("theorem-2", 0, 0.0, 1e-4, 0.0, free=BOTH, quiet=500), None),
    (space("log-growth", 6, 0.0, 0.5, 0.5, free=BOTH), None),
    (space("theorem-3-l1", 6, 0.9, 0.95, 0.2, free="v0 noise", positive=True, **L1), None),
    (space("theorem-3-l1", 0, 0.9, 0.95, 0.0, quiet=500), None),
    (space("theorem-3-variance", 6, 0.9, 0.95, 0.8, free="v0 noise", positive=True, **VARIANCE), None),
    (space("theorem-3-variance", 0, 0.9, 0.95, 0.0, quiet=500), None),
    (space("weight-decay", 6, 0.0, 1e-2, 0.3, free="v0 start weight_decay", optimizer="adamw"), 1.21),
    (space("weight-decay", 0, 0.0, 1e-4, 0.0, free="v0 start weight_decay", quiet=500, optimizer="adamw"), None),
    (space("schedule", 6, 0.0, 1e-2, 0.5, free=ALL), 1.66),
    (space("schedule", 0, 0.0, 1e-4, 0.0, free=ALL, quiet=500), None),
    (space("clipping,floor=0.8", 7, 0.0, 1e-4, 0.3, free="v0 factors"), 2.64),
    (space("clipping,floor=0.9", 0, 0.0, 1e-4, 0.0, free="v0 factors", quiet=500), None),
    (space("violated-steps", 6, 0.0, 1e-2, 0.3, free="v0 violated"), 1.23),
    (space("violated-steps", 0, 0.0, 1e-4, 0.0, quiet=500), None),
    (space("l1-test", 7, 0.0, 1e-4, 0.3), 2.3),
    (space("l1-test", 0, 0.0, 1e-4, 0.0, quiet=500), None),
    (space("scalar-test", 7, 0.0, 1e-4, 0.3, dimension=1), None),
    (space("scalar-test", 0, 0.0, 1e-4, 0.0, dimension=1, quiet=500), None),
    (space("adagrad", 7, 0.0, positive=True, optimizer="adagrad"), 1.000002),
    (space("sgd", 6, 0.5, free="", step_size=0.4, optimizer="sgd"), 1.00006),
)
"""Settings of each theorem, with noise and without but for long, with what was known."""

FURTHER = (
    space("theorem-1-plain", 7, 0.2, 0.3, 0.3, positive=True),
    space("preconditioned-sum", 7, 0.2, 0.3, 0.3, free=BOTH, positive=True),
    space("theorem-1", 7, 0.2, 0.3, 0.3, free=BOTH, positive=True),
    space("theorem-1", 6, 0.0, 1e-4, 0.3, free=ALL),
    space("theorem-1", 6, 0.2, 0.3, 0.3, free=ALL, positive=True),
    space("theorem-1", 7, 0.0, 1e-3, 0.3, free=BOTH, **BIAS),
    space("theorem-1", 7, 0.2, 0.3, 0.3, free=BOTH, positive=True, **BIAS),
    space("theorem-1-any-length", 7, 0.2, 0.3, 0.3, free=BOTH, positive=True, **BIAS),
    space("theorem-2", 6, 0.0, 1e-3, 0.5, free=BOTH),
    space("theorem-2", 6, 0.2, 0.3, 0.3, free=BOTH, positive=True),
    space("log-growth", 6, 0.5, 0.9, 0.5, free=BOTH, positive=True),
    space("theorem-3-l1", 6, 0.0, 0.95, 0.2, free="v0 noise", **L1),
    space("theorem-3-variance", 6, 0.0, 0.9, 0.8, free="v0 noise", **VARIANCE),
    space("theorem-3-variance", 6, 0.0, 0.9, 0.8, free="v0 noise falling", **VARIANCE),
    space("theorem-3-of-norms", 6, 0.0, 0.95, 0.5, positive=True),
    space("theorem-3-floor", 6, 0.0, 0.9, 0.3, free="v0 epsilon floor", positive=True),
    space("weight-decay", 6, 0.2, 0.3, 0.2, free="v0 start weight_decay", positive=True, optimizer="adamw"),
    space("weights", 6, 0.2, 0.3, 0.3, free="v0 weight_decay", dimension=1, optimizer="adamw"),
    space("schedule,warmup=2", 6, 0.2, 0.3, 0.3, free=ALL, positive=True),
    space("clipping,floor=0.6", 7, 0.2, 0.3, 0.3, free="v0 factors", positive=True),
    space("violated-steps", 6, 0.2, 0.3, 0.3, free="v0 violated", positive=True),
    space("l1-test", 7, 0.0, 0.5, 0.1),
    space("adagrad", 7, 0.5, positive=True, optimizer="adagrad"),
    space("sgd", 6, 0.3, free="", dimension=1, step_size=0.25, optimizer="sgd"),
    space("sgd-floor", 6, 1.5, free="floor", positive=True, dimension=1, step_size=0.25, optimizer="sgd"),
)
"""Other settings of near-tight rows."""


def known() -> list[Instance]:
    """SGD on L w^2 / 2 from just above the goal, X in {0, 1 + eta^2}: it stays, or is at the minimiser."""
    goal = Instance(
        bound="steps-to-goal",
        optimizer="sgd",
        eta=0.5,
        smoothness=2.0,
        step_size=0.4,
        goal=1.0,
        width=np.array(1.0),
        first=np.array(1.000001),
        slopes=np.array([2.0, 2.0]),
        below=np.array([[1.0, 1.0]] * 7),
        above=np.array([[0.249999, 0.249999]] * 7),
    )
    return [goal, replace(goal, bound="samples-to-goal")]


def key(row: Instance) -> tuple[Any, ...]:
    """What tells rows apart."""
    return row.bound, row.optimizer, row.beta2, row.beta1, row.eta, row.multipliers is not None


def main() -> None:
    """Search, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each search")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="searches whose label contains this")
    parser.add_argument("--all", action="store_true", help="the other settings of near-tight rows too")
    parser.add_argument("--known", action="store_true", help="start from the rows of all bounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep what is better than the committed rows")
    given = parser.parse_args()
    options = "".join(f" --{name}" for name in ("all", "known", "write") if getattr(given, name))
    print(f"python benchmarks/attack.py --seconds {given.seconds:g} --processes {given.processes}{options}")
    print(f"{'bound at betas and eta':<50}{'K':>4}{'known':>9}{'row':>9}{'found':>10}{'instances':>11}  10% less")
    kept = {key(instance): instance for instance in near_tight_instances()}
    kept |= {key(instance): replace(instance, ratio=ratios(instance).item()) for instance in known()}
    for where, ratio in (*THEOREMS, *((other, None) for other in FURTHER if given.all)):
        if given.only not in where.label:
            continue
        start = tuple(kept.values()) if given.known else ()
        found = attack(where, given.seconds, processes=given.processes, seed=given.seed, known=start)
        before, after = kept.get(key(found.instance)), found.after(BROKEN)
        row = format(before.ratio, ".5g") if before else "-"
        less = "not broken" if found.ratio >= BROKEN else f"broken after {after:.0f} s"
        print(f"{where.label:<50}{where.steps + where.quiet:>4}{ratio or '-':>9}{row:>9}", end="")
        print(f"{found.ratio:>10.6f}{found.evaluated:>11,}  {less}", flush=True)
        if given.write and found.ratio >= 1 and (before is None or found.ratio < before.ratio):
            kept[key(found.instance)] = found.instance
            rows = sorted(kept.values(), key=lambda i: (rule_of(i.bound).name, *key(i)))
            FILE.write_text("".join(json.dumps(i.to_dict()) + "\n" for i in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
