"""Mutants of theory: which changes of a formula do the proofs, the claims and the measurements notice?

    python benchmarks/mutants.py [--limit N] [--modules theory.adam ...] >> benchmarks/mutants.txt

Mutants come from the syntax tree of every module of theory: a constant 1% larger, a sum for a mean, < for >, K for
1, min for max, + for -. One is one change at one place. Each runs in a process of its own, in which the module is
loaded from the changed tree: nothing on disk changes. Its checks are only those that import the module, nearest
first, and the first that fails ends it: proofs, then claims, then the quick experiments of verify-bounds.

A mutant that nothing catches is listed as SURVIVED, unless :data:`EQUIVALENT` says why it is the same theory.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["EQUIVALENT", "Mutant", "mutants", "named_mutants"]

ROOT = Path(__file__).resolve().parent.parent
SWAPPED = {"minimum": "maximum", "maximum": "minimum", "min": "max", "max": "min", "sum": "mean", "mean": "sum"}
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
}

EQUIVALENT: dict[str, str] = {}
"""Mutants that are the same theory, with the reason."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module: a text by hand, or the place in its syntax tree."""

    module: str
    description: str
    place: int = -1
    replacement: tuple[str, str] = ("", "")

    @property
    def source(self) -> str:
        """The changed source."""
        text = _source(self.module)
        if self.place < 0:
            return text.replace(*self.replacement, 1)
        return ast.unparse(ast.fix_missing_locations(_Change(self.place).visit(ast.parse(text))))


def _source(module: str) -> str:
    return (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


class _Change(ast.NodeTransformer):
    """Counts the places of a tree that can change and changes the ``chosen`` one (none for -1)."""

    def __init__(self, chosen: int) -> None:
        self.chosen, self.scope = chosen, [""]
        self.places: list[str] = []

    def _here(self, text: str) -> bool:
        self.places.append(f"{text} in {self.scope[-1]}")
        return len(self.places) - 1 == self.chosen

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        self.scope.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]  # not its defaults and decorators
        self.scope.pop()
        return node

    def visit_Expr(self, node: ast.Expr) -> Any:
        if isinstance(node.value, ast.Constant) or _is_call(node.value, "require", "require_eta"):
            return node  # docstrings; what is refused has tests of its own
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> Any:
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        return node

    def visit_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)) or len(self.scope) == 1:
            return node
        if node.value and self._here(f"{node.value} 1% larger (line {node.lineno})"):
            scaled = ast.BinOp(ast.Constant(node.value * 101), ast.Div(), ast.Constant(100))
            return ast.copy_location(scaled, node)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        node.value = self.visit(node.value)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        other: ast.operator | None = {ast.Add: ast.Sub(), ast.Sub: ast.Add()}.get(type(node.op))
        sign = "+ for -" if isinstance(node.op, ast.Sub) else "- for +"
        if other is not None and len(self.scope) > 1 and self._here(f"{sign} (line {node.lineno})"):
            node.op = other
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        if len(self.scope) > 1 and type(node.ops[0]) in COMPARED and self._here(f"< for > (line {node.lineno})"):
            node.ops[0] = COMPARED[type(node.ops[0])]()
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SWAPPED and len(self.scope) > 1:
            if isinstance(node.func, ast.Name) and name in ("sum", "mean"):
                return node
            if self._here(f"{name} -> {SWAPPED[name]} (line {node.lineno})"):
                if isinstance(node.func, ast.Attribute):
                    node.func.attr = SWAPPED[name]
                else:
                    node.func = ast.copy_location(_swapped(name), node.func)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        inside = node.attr == "steps" and isinstance(node.ctx, ast.Load) and len(self.scope) > 1
        if inside and self._here(f"K -> 1 (line {node.lineno})"):
            return ast.copy_location(ast.Constant(1), node)
        return self.generic_visit(node)


def _swapped(name: str) -> ast.expr:
    if name in ("min", "max"):
        return ast.Name(SWAPPED[name], ast.Load())
    found = ast.parse(f"__import__('adabatch.moments.numeric', fromlist=['x']).{SWAPPED[name]}", mode="eval").body
    return found


def _is_call(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in names


def modules() -> list[str]:
    """The modules of theory that hold formulas, in the order of their paths."""
    paths = sorted((ROOT / "theory").rglob("*.py"))
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths if p.stem != "__init__"]


def mutants(module: str) -> Iterator[Mutant]:
    """All mutants of one module."""
    change = _Change(-1)
    change.visit(ast.parse(_source(module)))
    for place, text in enumerate(change.places):
        yield Mutant(module, f"{module}: {text}", place)


NAMED = (
    ("theory.adam.variants", "epsilon once, not K times", "+ moved * problem.steps", "+ moved"),
    ("theory.adam.variants", "step_multipliers: hi is the mean", "float(values.max()))", "float(values.mean()))"),
    ("theory.adam.variants", "hi for hi^2", "chosen.highest**2", "chosen.highest"),
    ("theory.problem", "||G_1|| default sqrt(L d Delta)", "self.initial_gap * 2)", "self.initial_gap)"),
    ("theory.adam.constants", "B without its 1", "(1 + tau * sqrt(beta2)", "(tau * sqrt(beta2)"),
    ("theory.adam.constants", "freezing with 1-r for (1-r)^2", "* gap**2)\n", "* gap)\n"),
    ("theory.training.weight_decay", "0.9 lambda W B", "pull * growth\n", "pull * growth * 9 / 10\n"),
    (
        "theory.training.step_schedules",
        "early gradients move half",
        "[..., None] * moved",
        "[..., None] * moved / 2",
    ),
    ("theory.training.violated_steps", "memory without sqrt(beta2)", "return sqrt(beta2) * sqrt(", "return sqrt("),
    ("theory.l1.theorem", "rho for 1 + rho", "(1 + momentum_amplification(", "(momentum_amplification("),
    ("theory.other_optimizers.adagrad", "drift halved", "/ (2 * kappa)", "/ (4 * kappa)"),
    ("theory.training.estimated_variance", "half of Var U", "products = 2 *", "products ="),
    ("adabatch.moments.numeric", "one_minus_power 1% smaller", "return result * 1.0", "return result * 0.99"),
    ("adabatch.moments.numeric", "minimum -> maximum", '"minimum", "Min"', '"maximum", "Min"'),
)
"""By hand: (module, description, text, its replacement)."""


def named_mutants() -> Iterator[Mutant]:
    """The mutants of :data:`NAMED`.

    Raises:
        ValueError: if the text of one is no longer there.
    """
    for module, description, old, new in NAMED:
        if old not in _source(module):
            raise ValueError(f"{module} no longer has {old!r}; change the mutant {description!r}")
        yield Mutant(module, f"{module}: {description}", replacement=(old, new))


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from the changed source."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.mutant.module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin="mutant")

    def exec_module(self, module: Any) -> None:
        exec(compile(self.mutant.source, f"<{self.mutant.module}>", "exec"), module.__dict__)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of this repository that a module imports, itself included, at any depth."""
    found, todo = {module}, [module]
    while todo:
        name = todo.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        path = path if path.exists() else ROOT / name.replace(".", "/") / "__init__.py"
        if not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for new in names:
                if new.split(".")[0] in ("theory", "proofs", "simulate", "adabatch") and new not in found:
                    found.add(new)
                    todo.append(new)
    return frozenset(found)


def nearest_first(module: str, candidates: list[str]) -> list[str]:
    """Those of the candidates that import the module, the most alike path first, then the smallest."""
    using = [name for name in candidates if module in imports(name)]
    room = module.split(".")[1:]
    return sorted(using, key=lambda name: (-len(set(room) & set(name.split("."))), len(imports(name))))


def caught_by(mutant: Mutant, stages: tuple[str, ...] = ("prove", "claims", "verify")) -> str:
    """What notices the mutant, "" if nothing does; for this process only, whose modules are then changed."""
    sys.meta_path.insert(0, _Changed(mutant))
    for stage in stages:
        for name, check in {"prove": _proofs, "claims": _claims, "verify": _experiments}[stage](mutant.module):
            try:
                problem = check()
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                return f"{stage}, {name}: {' '.join(problem.split())[:100]}"
    return ""


def _proofs(module: str) -> Iterator[tuple[str, Any]]:
    from proofs.registry import MODULES, proofs_of
    from proofs.steps import run

    def check(name: str) -> str:
        for proof in proofs_of(name):
            result = run(proof)
            if not result.holds:
                return f"{proof.name}: {result.failures[0].evidence.detail}" if result.failures else proof.name
        return ""

    for name in nearest_first(module, list(MODULES)):
        yield name, lambda name=name: check(name)


def _claims(module: str) -> Iterator[tuple[str, Any]]:
    from theory.audit.claims import CLAIMS

    for claim in CLAIMS:
        yield claim.place, lambda claim=claim: "" if claim.check().verdict is claim.verdict else "another verdict"


def _experiments(module: str) -> Iterator[tuple[str, Any]]:
    from simulate.experiments.settings import Level, Settings
    from simulate.verify_bounds import EXPERIMENTS

    settings = Settings(level=Level.QUICK, output=ROOT / "build" / "mutants")
    for name in EXPERIMENTS:
        experiment = EXPERIMENTS[name]

        def check(experiment: Any = experiment) -> str:
            verdicts = experiment.run(settings, lambda _: None).verdicts
            return "; ".join(f"{v.name}: {v.outcome}" for v in verdicts if not v.as_expected)

        yield name, check


def main() -> None:
    """Run mutants, one process each, and print a line for each as it ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--modules", nargs="*", default=None, help="only these modules (beginnings of names)")
    parser.add_argument("--limit", type=int, default=10**6, help="every n-th, so that about this many run")
    parser.add_argument("--list", action="store_true", help="print them and run none")
    parser.add_argument("--only", default="", help="(used by itself) run this one here")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each")
    given = parser.parse_args()
    chosen = [
        m
        for name in modules()
        if given.modules is None or name.startswith(tuple(given.modules))
        for m in mutants(name)
    ]
    chosen = [*named_mutants(), *chosen] if given.modules is None else chosen
    if given.only:
        mutant = next(m for m in [*named_mutants(), *chosen] if m.description == given.only)
        print(caught_by(mutant))
        return
    stride = max(1, len(chosen) // given.limit)
    chosen = chosen[: len(NAMED)] + chosen[len(NAMED) :: stride] if given.modules is None else chosen[::stride]
    counts = {"caught": 0, "equivalent": 0, "survived": 0, "unfinished": 0}
    for mutant in chosen:
        if given.list:
            print(mutant.description)
            continue
        start = time.perf_counter()
        command = [sys.executable, __file__, "--only", mutant.description]
        if given.modules is not None:
            command += ["--modules", *given.modules]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=given.timeout, cwd=ROOT)
            found = done.stdout.strip().splitlines()[-1:] or [
                f"exit: {done.stderr.strip().splitlines()[-1:]}" * (done.returncode != 0)
            ]
        except subprocess.TimeoutExpired:
            found = ["unfinished"]
        reason = EQUIVALENT.get(mutant.description, "")
        kind = "caught" if found[0] else "equivalent" if reason else "survived"
        kind = "unfinished" if found == ["unfinished"] else kind
        counts[kind] += 1
        print(
            f"{kind:10} {mutant.description} | {found[0] or reason} | {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()) + f" of {len(chosen)}")


if __name__ == "__main__":
    main()
