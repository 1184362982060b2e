"""Mutants of theory: which changes of a formula do the proofs, the claims and the measurements notice?

    python benchmarks/mutants.py [--every 13] [--modules theory.adam ...] [--only TEXT] [--again TABLE]

Mutants come from the syntax tree of every module of theory: a constant 1% larger, a mean for a sum, < for >, K for
1, min for max, + for -. One is one change at one place; others are by hand. Each is tried in a
process of its own, which loads the module from the changed tree: nothing on disk changes. Its checks are those
that import the module, and the first that fails ends it; the cheapest come first: the near-tight instances, quick
proofs of the same room, the other proofs, claims, the other experiments of verify-bounds --quick. What survives
them is left to the unit tests of theory, to show whether anything notices. Each has five minutes of CPU;
without an end it counts as noticed.

What nothing notices must have a reason in ``benchmarks/mutants.toml`` why it is the same theory. Descriptions say
which numbers belong to no formula: tolerances of solvers, and in the checks of claims an example's numbers and
the margins that assertions leave.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import os
import re
import resource
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

__all__ = ["Mutant", "chosen_mutants", "modules", "mutants", "named_mutants", "try_mutant"]

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300
"""Of CPU for a mutant, more than all checks of a module take."""
SLOW_PROOFS = frozenset(
    f"proofs.{name}"
    for name in (
        "adam.theorem1",
        "adam.variants",
        "adam_sharp.theorem2",
        "estimators.weighted_groups",
        "l1.theorem",
        "training.clipping",
        "training.violated_steps",
    )
)
"""They take two to eight seconds each, and so come after the others of their room."""
PRELOADED = ("numpy", "scipy.optimize", "scipy.stats", "sympy", "flint", "mpmath", "rich.progress")
"""Imported once, before processes are forked: none is of this project."""
SWAPPED = {"minimum": "maximum", "maximum": "minimum", "min": "max", "max": "min", "sum": "mean", "mean": "sum"}
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
}

TOLERANCES = frozenset({"xtol", "rtol", "atol", "epsabs", "epsrel"})
"""Keywords of solvers and comparisons."""
GIVEN = (ast.Tuple, ast.List, ast.Call, ast.keyword, ast.Assign)
"""What a number that stands alone in it is given to."""


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
        tree = _Change(self.module, self.place).visit(ast.parse(text))
        return ast.unparse(ast.fix_missing_locations(tree))


def _path(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def _source(module: str) -> str:
    return _path(module).read_text(encoding="utf-8")


def _roles(tree: ast.AST, of_a_claim: bool) -> dict[ast.AST, str]:
    """What numbers are for, where they belong to no formula."""
    roles: dict[ast.AST, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in TOLERANCES:
            roles |= dict.fromkeys(ast.walk(node), "tolerance ")
        elif of_a_claim and isinstance(node, ast.Call) and _is_call(node, "Assertion"):
            if ast.unparse(node.args[2]) != "'=='":
                roles |= dict.fromkeys((inner for given in node.args[3:] for inner in ast.walk(given)), "margin ")
        elif of_a_claim and (isinstance(node, GIVEN) or (isinstance(node, ast.UnaryOp) and node in roles)):
            roles |= dict.fromkeys(ast.iter_child_nodes(node), "example's ")
    return roles


class _Change(ast.NodeTransformer):
    """Counts the places of a tree that can change and changes the ``chosen`` one (none for -1).

    A place is named by its function, the line around it and the change; no line numbers, which move.
    """

    def __init__(self, module: str, chosen: int) -> None:
        self.module, self.chosen, self.scope, self.statement = module, chosen, [""], ""
        self.places: list[str] = []
        self.roles: dict[ast.AST, str] = {}

    def visit_Module(self, node: ast.Module) -> Any:
        self.roles = _roles(node, self.module.startswith("theory.audit.checks."))
        return self.generic_visit(node)

    def _here(self, text: str) -> bool:
        self.places.append(f"{self.scope[-1]}: {text} in {self.statement}")
        return len(self.places) - 1 == self.chosen

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            self.statement = " ".join(ast.unparse(node).split())[:100]
        elif isinstance(node, (ast.If, ast.While, ast.For)):
            self.statement = ast.unparse(node.iter if isinstance(node, ast.For) else node.test)[:100]
        return super().visit(node)

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
        if node.value and self._here(f"{self.roles.get(node, '')}{node.value} 1% larger"):
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
        if other is not None and len(self.scope) > 1 and self._here(f"{sign}"):
            node.op = other
        return node

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        if len(self.scope) > 1 and type(node.ops[0]) in COMPARED and self._here("< for >"):
            node.ops[0] = COMPARED[type(node.ops[0])]()
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        if _is_call(node, "describe"):
            return node  # words of an error
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SWAPPED and len(self.scope) > 1:
            if isinstance(node.func, ast.Name) and name in ("sum", "mean"):
                return node
            if self._here(f"{name} -> {SWAPPED[name]}"):
                if isinstance(node.func, ast.Attribute):
                    node.func.attr = SWAPPED[name]
                else:
                    node.func = ast.copy_location(_swapped(name), node.func)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        inside = node.attr == "steps" and isinstance(node.ctx, ast.Load) and len(self.scope) > 1
        if inside and self._here("K -> 1"):
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
    change = _Change(module, -1)
    change.visit(ast.parse(_source(module)))
    seen = Counter[str]()
    for place, text in enumerate(change.places):
        seen[text] += 1
        again = f" (place {seen[text]})" if seen[text] > 1 else ""
        yield Mutant(module, f"{module}.{text}{again}", place)


def table() -> dict[str, Any]:
    """``benchmarks/mutants.toml``."""
    return tomllib.loads((ROOT / "benchmarks" / "mutants.toml").read_text(encoding="utf-8"))


def named_mutants() -> Iterator[Mutant]:
    """The mutants by hand.

    Raises:
        ValueError: if the text of one is no longer there.
    """
    for module, description, old, new in table()["by_hand"]:
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
        return importlib.util.spec_from_file_location(fullname, _path(fullname), loader=self)

    def exec_module(self, module: Any) -> None:
        exec(compile(self.mutant.source, f"<{self.mutant.module}>", "exec"), module.__dict__)


@cache
def _imported(module: str) -> frozenset[str]:
    """The modules of this repository that a module imports itself; names in them may be among these."""
    path = _path(module)
    path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else ():
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] in ("theory", "proofs", "simulate", "adabatch"))


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of this repository that a module imports, itself included, at any depth."""
    found, todo = {module}, [module]
    while todo:
        new = _imported(todo.pop()) - found
        found |= new
        todo += new
    return frozenset(found)


def preload() -> None:
    """What all processes share, before they are forked: other people's libraries, and who imports whom."""
    for name in PRELOADED:
        importlib.import_module(name)
    for room in ("theory", "proofs", "simulate", "tests/theory"):
        for path in (ROOT / room).rglob("*.py"):
            imports(".".join(path.relative_to(ROOT).with_suffix("").parts))


def nearest_first(module: str, candidates: list[str]) -> list[str]:
    """Those of the candidates that import the module, the most alike path first, then the smallest."""
    using = [name for name in candidates if module in imports(name)]
    room = module.split(".")[1:]
    return sorted(using, key=lambda name: (-len(set(room) & set(name.split("."))), len(imports(name))))


Check = Callable[[], str]
"""Returns what it noticed, "" for nothing."""
Verifiers = Callable[[str], Iterator[tuple[str, str, Check]]]
"""Of a module: stage, name and check, in the order in which they are tried."""


def checks(module: str) -> Iterator[tuple[str, str, Check]]:
    """The verifiers of a module in order; they import the project: in a process of its own."""
    found = list(proofs(module))
    own = [check for check in found if check[1].split(".")[1] in module and check[1] not in SLOW_PROOFS]
    yield from near_tight(module)
    yield from own
    yield from (check for check in found if check not in own)
    yield from claims(module)
    yield from other_experiments(module)
    yield from unit_tests(module)


def checks_again(noticed: str, module: str) -> Iterator[tuple[str, str, Check]]:
    """The check that noticed the mutant in an earlier run, "stage, name", and then all."""
    stage, _, name = noticed.partition(", ")
    for verifiers in STAGES.get(stage, ()):
        yield from (check for check in verifiers(module) if check[1] == name)
    yield from checks(module)


def proofs(module: str) -> Iterator[tuple[str, str, Check]]:
    """Those of the same room first."""
    from proofs.registry import MODULES, proofs_of
    from proofs.steps import run

    def check(name: str) -> str:
        for proof in proofs_of(name):
            result = run(proof)
            if not result.holds:
                return f"{proof.name}: {result.failures[0].evidence.detail}" if result.failures else proof.name
        return ""

    for name in nearest_first(module, list(MODULES)):
        yield "prove", name, lambda name=name: check(name)  # type: ignore[misc]


def claims(module: str) -> Iterator[tuple[str, str, Check]]:
    """Those whose check imports the module."""
    from theory.audit.claims import CLAIMS

    def check(claim: Any) -> str:
        verdict = claim.check().verdict
        return "" if verdict is claim.verdict else f"verdict: {verdict}"

    for claim in CLAIMS:
        if module in imports(claim.check.__module__):
            yield "claims", claim.place, lambda claim=claim: check(claim)  # type: ignore[misc]


def near_tight(module: str) -> Iterator[tuple[str, str, Check]]:
    """The experiment of this name."""
    if module in imports("simulate.attack.near_tight"):
        yield "verify", "near-tight", lambda: _experiment("near-tight")


def other_experiments(module: str) -> Iterator[tuple[str, str, Check]]:
    """The others, the shortest first."""
    from simulate.verify_bounds import EXPERIMENTS

    for name in sorted(EXPERIMENTS, key=lambda name: EXPERIMENTS[name].by_default):
        if name not in ("near-tight", "studies") and module in imports(EXPERIMENTS[name].function.__module__):
            yield "verify", name, lambda name=name: _experiment(name)  # type: ignore[misc]


def _experiment(name: str) -> str:
    from simulate.experiments.pieces import Pieces
    from simulate.experiments.settings import Level, Settings
    from simulate.verify_bounds import EXPERIMENTS

    outcomes = EXPERIMENTS[name].run(Settings(level=Level.QUICK), Pieces()).outcomes
    return "; ".join(f"{o.name}: {o.verdict}" for o in outcomes if not o.as_expected)


def unit_tests(module: str) -> Iterator[tuple[str, str, Check]]:
    """Those of theory that import the module, the most alike path first."""

    def check(paths: list[str]) -> str:
        import pytest

        found: list[str] = []

        class Failures:
            def pytest_runtest_logreport(self, report: Any) -> None:
                if report.failed:
                    found.append(report.nodeid)

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
        code = pytest.main([*options, *paths], plugins=[Failures()])
        return found[0] if found else "" if code in (0, 5) else f"exit code {int(code)}"

    names = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "tests" / "theory").rglob("test_*.py"))]
    using = [name for name in names if module in imports(name.removesuffix(".py").replace("/", "."))]
    room = set(module.split("."))
    for name in sorted(using, key=lambda name: -len(room & set(re.split(r"[/._]", name)))):
        yield "tests", name, lambda name=name: check([name])  # type: ignore[misc]


STAGES: dict[str, tuple[Verifiers, ...]] = {
    "verify": (near_tight, other_experiments),
    "prove": (proofs,),
    "claims": (claims,),
    "tests": (unit_tests,),
}


def caught_by(mutant: Mutant, verifiers: Verifiers = checks) -> str:
    """What notices the mutant, "" if nothing does; for this process only, whose modules are then changed."""
    sys.meta_path.insert(0, _Changed(mutant))
    for stage, name, check in verifiers(mutant.module):
        try:
            problem = check()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            return f"{stage}, {name}: {' '.join(problem.split())[:90]}"
    return ""


def try_mutant(mutant: Mutant, verifiers: Verifiers = checks) -> tuple[str, float]:
    """:func:`caught_by` in a forked process of at most :data:`SECONDS` of CPU, and the CPU that it took."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            try:
                found = caught_by(mutant, verifiers)
            except BaseException as error:  # at import: the module cannot be loaded at all
                found = f"import, {mutant.module}: {type(error).__name__}: {error}"[:120]
            os.write(writing, (found or "-").encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    usage = os.wait4(process, 0)[2]
    found = answer or f"no end within {SECONDS} s of CPU"
    return "" if found == "-" else found, usage.ru_utime + usage.ru_stime


def reasons() -> dict[str, str]:
    """Why mutants that nothing notices are the same theory: by regular expressions of descriptions."""
    return {entry["mutant"]: entry["reason"] for entry in table()["equivalent"]}


def reason_of(mutant: Mutant, known: dict[str, str]) -> str:
    """The first that applies, or ""."""
    return next((reason for pattern, reason in known.items() if re.search(pattern, mutant.description)), "")


def chosen_mutants(every: int, beginnings: tuple[str, ...] = ("",)) -> list[Mutant]:
    """Those by hand, and of each module every n-th, from its first: the same ones at each call."""
    by_hand = [mutant for mutant in named_mutants() if mutant.module.startswith(beginnings)]
    return by_hand + [m for name in modules() if name.startswith(beginnings) for m in list(mutants(name))[::every]]


def noticed_in(table: Path | None) -> dict[str, str]:
    """What noticed each mutant of a printed table, "stage, name"."""
    lines = table.read_text(encoding="utf-8").splitlines() if table else []
    rows = [line.rsplit(" | ", 2) for line in lines if line.endswith(" s")]
    return {row[0]: row[1].split(": ")[0] for row in rows if len(row) == 3}


def main() -> None:
    """Try mutants, two at a time, and print a line for each and the counts at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--modules", nargs="*", default=[""], help="only these modules (beginnings of names)")
    parser.add_argument("--every", type=int, default=1, help="of each module every n-th")
    parser.add_argument("--only", default="", help="those whose description contains this")
    parser.add_argument("--again", type=Path, metavar="TABLE", help="try first what noticed a mutant there")
    parser.add_argument("--list", action="store_true", help="print them and try none")
    given = parser.parse_args()
    chosen = [m for m in chosen_mutants(given.every, tuple(given.modules)) if given.only in m.description]
    if given.list:
        print("\n".join(mutant.description for mutant in chosen))
        return
    preload()
    known, counts, start = reasons(), Counter[str](), time.perf_counter()
    total, earlier = 0.0, noticed_in(given.again)

    def attempt(mutant: Mutant) -> tuple[str, float]:
        return try_mutant(mutant, partial(checks_again, earlier.get(mutant.description, "")))

    with ThreadPoolExecutor(2) as pool:
        for mutant, (found, seconds) in zip(chosen, pool.map(attempt, chosen), strict=True):
            reason = "" if found else reason_of(mutant, known)
            kind = found.split(",")[0] if found else "equivalent" if reason else "SURVIVED"
            counts["no end" if kind.startswith("no end") else kind] += 1
            total += seconds
            print(f"{mutant.description} | {found or f'{kind}: {reason}'} | {seconds:.0f} s", flush=True)
    clock = (time.perf_counter() - start) / 60
    print(f"\n{len(chosen)} mutants, {total / 60:.0f} minutes of CPU, {clock:.0f} by the clock:")
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))


if __name__ == "__main__":
    main()
