from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from proofs import claims_report, report
from proofs.audit.published_adam import proposition_1
from proofs.claims_report import CheckedClaim, check_claim
from proofs.registry import find_proof
from proofs.steps import run
from tests.support.altered_proofs import altered
from theory.audit.claims import CLAIMS, find_claim
from theory.audit.evidence import Assertion, ClaimEvidence


def test_claims_lists_every_place(adabatch) -> None:
    shown = adabatch.output("claims")
    for claim in CLAIMS:
        assert claim.place in shown
    assert "fails as published" in shown


def test_claims_show_prints_the_numbers(adabatch) -> None:
    shown = adabatch.output("claims", "--show", "lemma b.1")
    assert "67241 > 200.22" in shown
    assert "proof of Lemma B.1: holds" in shown
    assert "confirmed: holds corrected" in shown


def test_claims_json(adabatch) -> None:
    records = json.loads(adabatch.output("claims", "--json"))
    assert [record["place"] for record in records] == [claim.place for claim in CLAIMS]
    assert "evidence" not in records[0]
    (record,) = json.loads(adabatch.output("claims", "--json", "--show", "Eq. 2"))
    assert record["confirmed"] is True
    assert record["evidence"]["published"][0]["left"] == 0.75
    assert record["proofs_hold"] == {"Eq. 2": True}


@pytest.mark.slow
def test_claims_run_confirms_every_verdict(adabatch, monkeypatch) -> None:
    """By their checks; their proofs are among those of the test of ``prove``."""
    monkeypatch.setattr(claims_report, "_proof_holds", lambda name: bool(find_proof(name)))
    shown = adabatch.output("claims", "--run")
    assert f"{len(CLAIMS)} of {len(CLAIMS)} verdicts confirmed" in shown
    assert "995.04 > 760.99" in shown


def test_a_verdict_that_is_not_confirmed_gives_exit_code_1(adabatch, monkeypatch) -> None:
    def contradicting(claim):
        holds = ClaimEvidence((Assertion("x", 1.0, "==", 1.0),))
        return CheckedClaim(claim, holds, {}, 0.0)

    monkeypatch.setattr(claims_report, "check_claim", contradicting)
    done = adabatch("claims", "--show", "Thm B.1")
    assert done.code == 1
    assert "NOT CONFIRMED" in done.out
    done = adabatch("claims", "--run")
    assert done.code == 1
    assert f"1 of {len(CLAIMS)} verdicts confirmed" in done.out


def test_a_failing_proof_is_not_confirmed() -> None:
    checked = check_claim(find_claim("Prop. 1"))
    assert checked.confirmed
    assert not CheckedClaim(checked.claim, checked.evidence, {"Prop. 1": False}, 0.0).confirmed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("claims", "--show", "Thm 9"), "Error: unknown claim 'Thm 9'; known are: Eq. 2;"),
        (("prove", "L99"), "Error: unknown proof 'L99'; known are: Eq. 2;"),
    ],
)
def test_unknown_names_list_the_known_ones(adabatch, arguments, message) -> None:
    adabatch.refuses(message, *arguments)


def test_prove_prints_a_table(adabatch) -> None:
    shown = adabatch.output("prove", "Prop. 1", "Lemma B.1")
    assert "2 of 2 proofs hold" in shown
    assert "2 identity, 1 certificate" in shown


def test_prove_shows_a_derivation(adabatch) -> None:
    assert "Lemma B.1 holds" in adabatch.output("prove", "Lemma B.1", "--show")


def test_a_failing_proof_gives_exit_code_1(adabatch, monkeypatch) -> None:
    wrong = altered(proposition_1, {"second_moment_bound": lambda gradient, eta: gradient**2}).proof
    assert not run(wrong).holds
    monkeypatch.setattr(report, "all_proofs", lambda: (wrong,))
    monkeypatch.setattr("proofs.certificates.report.spot_check", lambda: True)
    done = adabatch("prove")
    assert done.code == 1
    assert "0 of 1 proofs hold" in done.out


INTERRUPTED = """
import signal, sys, time
from adabatch import commands

class Dying:
    def __del__(self):
        signal.raise_signal({number})

class Finder:
    def find_spec(self, name, *_):
        if name == "proofs.claims_report":
            Dying()
            {then}

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
sys.argv = ["adabatch", "claims"]
commands.main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_in_the_middle_of_an_import_ends_the_command(name):
    """Packages destroy objects while they are imported, and Python cannot raise there."""
    number = int(getattr(signal, name))
    code = INTERRUPTED.format(number=number, then="time.sleep(60)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"stopped by {name}\n")
