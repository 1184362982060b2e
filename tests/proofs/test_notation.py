"""No symbol of a proof that nothing defines, and no definition that nothing uses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import sympy

from proofs import notation
from proofs.adam.l1_step import lemma_l1
from proofs.adam.symbols import noise, q, r
from proofs.composition import Assumption
from proofs.notation import assumption, symbols_in, undefined, unexplained, unused
from proofs.registry import all_proofs
from proofs.relations import CONSTANTS, equation, written
from proofs.steps import Step, prose


@pytest.mark.parametrize(
    ("latex", "symbols"),
    [
        (r"\frac{\beta_1^n}{\sqrt{v_{k-1}}+\epsilon}", (r"\beta_1", "n", "v_{k-1}", r"\epsilon")),
        (r"\bar Q' \le \tilde v_k + \hat\Sigma", (r"\bar Q'", r"\tilde v_k", r"\hat \Sigma")),
        (
            r"\mathbb{E}\,\mathrm{Var}_{i\in B} \text{ where } \mathcal{E} = b^*",
            ("E", r"\mathrm{Var}_{i\in B}", r"\mathcal{E}", "b^*"),
        ),
        (r"L5 \text{ at } s: L_0", ("s", "L_0")),
        (r"x \in \mathbb{R}, \; B_\mathrm{noise}", ("x", r"B_\mathrm{noise}")),
        (r"0 \le \infty \text{ (if $z$ is)}", ("z",)),
    ],
)
def test_symbols_of_latex(latex: str, symbols: tuple[str, ...]) -> None:
    assert symbols_in(latex) == symbols


def test_every_symbol_of_every_proof_is_defined() -> None:
    missing = [line for proof in all_proofs() for line in undefined(proof)]
    assert not missing, "\n" + "\n".join(missing)


def test_every_explanation_uses_what_was_explained_before() -> None:
    assert not unexplained(), "\n" + "\n".join(unexplained())


def test_no_definition_is_left_over() -> None:
    found = unused(all_proofs())
    assert not found, "\n" + "\n".join(found)


def test_every_assumption_is_a_sentence() -> None:
    for name in Assumption:
        try:
            assert assumption(name)
        except KeyError:
            pytest.fail(
                f"the assumption {name!r} has no sentence: add it to [assumptions] in proofs/notation.toml"
            )
    unknown = set(notation._tables()["assumptions"]) - {str(name) for name in Assumption}
    assert not unknown, f"no assumptions any more: delete {unknown} from proofs/notation.toml"
    for proof, table in notation._tables()["proofs"].items():
        assert set(table.get("assumes", ())) <= set(map(str, Assumption)), proof
        assert table.get("of", "certificate") in notation.families(), proof


def with_step(step: Step) -> list[str]:
    proof = lemma_l1()
    return undefined(replace(proof, steps=(*proof.steps, step)))


def test_an_undefined_symbol_is_named_with_its_place() -> None:
    assert with_step(prose(r"m_{k-n} \le C_m")) == []
    (line,) = with_step(prose(r"m_k \le \Xi_k", "of the past"))
    number = len(lemma_l1().steps) + 1
    assert line.startswith(
        rf"\Xi_k in step {number} of 'L1' is not defined: define it in proofs/notation.toml, under"
    )
    assert '[proofs."L1"]' in line
    assert with_step(prose("m_k", "where psi > 0"))[0].startswith(r"\psi in step")
    assert with_step(prose("$m_q$"))[0].startswith("m_q in step")
    assert with_step(prose("m' = 0"))[0].startswith("m' in step")


def test_what_a_relation_defines_is_defined() -> None:
    psi, m = sympy.symbols(r"\psi m_k", positive=True)
    assert with_step(equation(psi, m, where={psi: m})) == []
    assert with_step(equation(psi, m))[0].startswith(r"\psi in step")


def test_a_definition_that_is_not_used_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = (lemma_l1(),)
    table = {**notation._tables(), "proofs": {"L1": {r"\xi": "any number"}, "L0": {}}}
    monkeypatch.setattr(notation, "_tables", lambda: table)
    assert unused(proofs) == [
        "[proofs.'L0']: there is no such proof",
        r"\xi is defined for 'L1', which does not use it",
    ]


def test_an_explanation_before_its_symbols_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"setting": {"all": {"r": "$1-c$", "c": "a number"}}, "families": {}, "proofs": {}}
    monkeypatch.setattr(notation, "_tables", lambda: table)
    assert unexplained() == ["[setting, all] r: c is not explained before"]


def _value(latex: str, known: dict[str, float]) -> float:
    """A constant as the setting writes it, computed: fractions, roots, products without a sign."""
    text, part = latex, r"\s*(?:(\w)|\{([^{}]*)\})"
    while (
        inner := re.sub(
            rf"\\frac{part}{part}", r"((\1\2)/(\3\4))", re.sub(rf"\\sqrt{part}", r"((\1\2)**.5)", text)
        )
    ) != text:
        text = inner
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, f" {known[name]!r} ")
    text = re.sub(r"(?<=[\d).])\s*(?=\()|(?<=[\d)])\s+(?=[\d(])", "*", text.replace("^", "**"))
    return float(eval(text))


def test_constants_of_the_setting_are_those_of_theory() -> None:
    """Pages leave their definitions out, so that the setting's must be the same."""
    at = {q: 0.9, r: 0.7, noise: 0.3}
    known = {r"\beta_1": 0.63, r"\beta_2": 0.81, r"\eta": 0.3}
    defined = {name: text for group in notation.setting().values() for name, text in group.items()}
    for name in ("r", "c", r"\tau", r"\rho", r"\kappa", r"\gamma", "C_m", r"\Gamma"):
        known[name] = _value(re.search(r"\$([^$]*?)(?:\\in[^$]*|\\ge[^$]*)?\$", defined[name])[1], known)
    known[r"\sqrt c"] = known["c"] ** 0.5
    for name, value in CONSTANTS.items():
        number = value.subs(CONSTANTS).subs(at)
        assert float(number) == pytest.approx(known[written(name)]), name


def _tables_of_symbols() -> dict[str, dict[str, str]]:
    tables = {f"setting, {name}": table for name, table in notation.setting().items()}
    tables |= {f"families.{name}": table for name, table in notation.families().items()}
    return tables | {f"proofs, {name}": notation.own(name) for name in notation._tables()["proofs"]}


def _alike(tables: dict[str, dict[str, str]]) -> list[str]:
    """Entries of one table that a reader cannot tell apart, such as r_{lo} and r_lo in roman type."""
    found = []
    for name, table in tables.items():
        printed = [re.sub(r"\\(?:mathrm|text|operatorname)|[{}\s]|\\,", "", key) for key in table]
        found += [f"[{name}] {key}" for key, shown in zip(table, printed, strict=True) if printed.count(shown) > 1]
    return found


TWICE = re.compile(r"; (?:else|elsewhere|in the (?:last|first|third)|in single)|\$, or \w")


def test_no_two_entries_print_alike_and_none_has_two_meanings() -> None:
    tables = _tables_of_symbols()
    assert not _alike(tables)
    assert _alike({"one": {"r_{lo}": "a", r"r_{\mathrm{lo}}": "b", "r_l": "c"}}) == [
        "[one] r_{lo}", r"[one] r_{\mathrm{lo}}"
    ]  # fmt: skip
    entries = [(name, key, text) for name, table in tables.items() for key, text in table.items()]
    twice = [(name, key) for name, key, text in entries if TWICE.search(text)]
    assert twice == [("setting, The problem", "L")]  # the objective, and its smoothness, as everywhere
    assert TWICE.search("the number of steps; in the last step any number")
