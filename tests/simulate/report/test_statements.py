"""Statements are theory's own, typeset."""

import sys

import pytest

from simulate.experiments.known import EXPERIMENTS
from simulate.laboratory import BOUNDS
from simulate.report import statements
from simulate.report.statements import documentation, statement, typeset


def theorems_named_by_experiments() -> set[str]:
    """Of all modules of theory that the sources of the experiments name as strings or hand on by name."""
    for experiment in EXPERIMENTS.values():
        _ = experiment.function
    loaded = [module for name, module in sys.modules.items() if name.startswith("simulate.experiments.")]
    constants = [
        c for m in loaded for f in vars(m).values() if (code := getattr(f, "__code__", None)) for c in _all(code)
    ]
    named = {c for constant in constants for c in (constant if isinstance(constant, tuple) else (constant,))}
    return {name for name in named if isinstance(name, str) and name.startswith("theory.")} | {
        bound.theorem for bound in BOUNDS.values()
    }


def _all(code):
    for constant in code.co_consts:
        yield from _all(constant) if hasattr(constant, "co_consts") else (constant,)


def test_every_theorem_that_an_experiment_names_has_a_statement():
    named = theorems_named_by_experiments()
    assert {"theory.adam.theorem1", "theory.l1.theorem3", "theory.schedules.limit"} <= named
    assert len(named) >= 20
    for module in named:
        found = statement(module)
        assert found.title
        assert all(str(text).strip() for section in found.sections for _, text in section.paragraphs)


def test_the_guarantee_is_that_of_the_docstring():
    *_, guarantee = statement("theory.other_optimizers.adagrad").sections
    kinds = [kind for kind, _ in guarantee.paragraphs]
    assert kinds == ["text", "formula", "text"]
    formula = str(guarantee.paragraphs[1][1])
    assert formula.splitlines()[1].startswith("    ≤ (1 + η<sup>2</sup>) / ((1 − η<sup>2</sup>) α)")
    assert not any(
        "Proof." in str(text) for s in statement("theory.schedules.limit").sections for _, text in s.paragraphs
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("||G_{k,i}||_1 >= 0", "‖G<sub>k,i</sub>‖<sub>1</sub> ≥ 0"),
        (
            "K^-1/2, beta1^(k-1), int_0^oo",
            "K<sup>-1/2</sup>, β<sub>1</sub><sup>k-1</sup>, ∫<sub>0</sub><sup>∞</sup>",
        ),
        ("alphabet, beta, sum_k sqrt(x), the sum of it", "alphabet, β, Σ<sub>k</sub> √(x), the sum of it"),
        (
            "see :mod:`theory.adam.theorem1` and ``log_growth``",
            "see <code>theory.adam.theorem1</code> and <code>log_growth</code>",
        ),
        (
            "<script> & **bold**, *an equality* 2 * 3 * 4",
            "&lt;script&gt; &amp; <b>bold</b>, <i>an equality</i> 2 * 3 * 4",
        ),
    ],
)
def test_typesetting(text, shown):
    assert typeset(text) == shown


def test_a_module_without_a_guarantee_is_refused():
    with pytest.raises(ValueError, match=r"theory\.samples\.goal states no guarantee"):
        statement("theory.samples.goal")


def test_links_lead_to_the_site_where_it_is_built_and_nowhere_without_documentation(tmp_path, monkeypatch):
    report = tmp_path / "runs" / "report"
    monkeypatch.setattr(statements, "CLONE", tmp_path)
    assert documentation("theory.adam.theorem1", report) is None
    page = tmp_path / "build" / "site" / "reference" / "theory" / "adam" / "theorem1" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    address = documentation("theory.adam.theorem1", report)
    assert (report / address).resolve() == page.resolve()
