from __future__ import annotations

import json
import subprocess
import sys

import pytest

from adabatch import commands
from adabatch.commands import main
from proofs import claims_report, report
from proofs.audit.published_adam import proposition_1
from proofs.claims_report import CheckedClaim, check_claim
from proofs.steps import run
from theory.audit.claims import CLAIMS, find_claim
from theory.audit.evidence import ClaimEvidence, Comparison


def adabatch(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["adabatch", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        main()
    code = stopped.value.code
    return int(code or 0)


def test_claims_lists_every_place(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "claims") == 0
    shown = capsys.readouterr().out
    for claim in CLAIMS:
        assert claim.place in shown
    assert "fails as published" in shown


def test_claims_show_prints_the_numbers(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "claims", "--show", "lemma b.1") == 0
    shown = capsys.readouterr().out
    assert "67241 > 200.22" in shown
    assert "proof of Lemma B.1: holds" in shown
    assert "confirmed: holds corrected" in shown


def test_claims_json(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "claims", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["place"] for record in records] == [claim.place for claim in CLAIMS]
    assert "evidence" not in records[0]
    assert adabatch(monkeypatch, "claims", "--json", "--show", "Eq. 2") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["confirmed"] is True
    assert record["evidence"]["published"][0]["left"] == 0.75
    assert record["proofs_hold"] == {"Eq. 2": True}


@pytest.mark.slow
def test_claims_run_confirms_every_verdict(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "claims", "--run") == 0
    shown = capsys.readouterr().out
    assert f"{len(CLAIMS)} of {len(CLAIMS)} verdicts confirmed" in shown
    assert "995.04 > 760.99" in shown


def test_a_verdict_that_is_not_confirmed_gives_exit_code_1(monkeypatch, capsys) -> None:
    def contradicting(claim):
        holds = ClaimEvidence((Comparison("x", 1.0, "==", 1.0),))
        return CheckedClaim(claim, holds, {}, 0.0)

    monkeypatch.setattr(claims_report, "check_claim", contradicting)
    assert adabatch(monkeypatch, "claims", "--show", "Thm B.1") == 1
    assert "NOT CONFIRMED" in capsys.readouterr().out
    assert adabatch(monkeypatch, "claims", "--run") == 1
    assert f"1 of {len(CLAIMS)} verdicts confirmed" in capsys.readouterr().out


def test_a_failing_proof_is_not_confirmed() -> None:
    checked = check_claim(find_claim("Prop. 1"))
    assert checked.confirmed
    assert not CheckedClaim(checked.claim, checked.certificate, {"Prop. 1": False}, 0.0).confirmed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("claims", "--show", "Thm 9"), "Error: unknown claim 'Thm 9'; known are: Eq. 2;"),
        (("prove", "L99"), "Error: unknown proof 'L99'; known are: Eq. 2;"),
    ],
)
def test_unknown_names_list_the_known_ones(monkeypatch, capsys, arguments, message) -> None:
    assert adabatch(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


def test_prove_prints_a_table(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "prove", "Prop. 1", "Lemma B.1") == 0
    shown = capsys.readouterr().out
    assert "2 of 2 proofs hold" in shown
    assert "3 identity, 1 certificate" in shown


@pytest.mark.slow
def test_prove_checks_everything(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "prove") == 0
    count = len(report.all_proofs())
    assert f"{count} of {count} proofs hold" in capsys.readouterr().out


def test_prove_shows_a_derivation(monkeypatch, capsys) -> None:
    assert adabatch(monkeypatch, "prove", "Lemma B.1", "--show") == 0
    assert "Lemma B.1 holds" in capsys.readouterr().out


def test_a_failing_proof_gives_exit_code_1(monkeypatch, capsys) -> None:
    wrong = proposition_1(lambda gradient, eta: gradient**2)
    assert not run(wrong).holds
    monkeypatch.setattr(report, "all_proofs", lambda: (wrong,))
    assert adabatch(monkeypatch, "prove") == 1
    assert "0 of 1 proofs hold" in capsys.readouterr().out


INTERRUPTED = """
import contextlib, signal, sys
from adabatch import commands

class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

class Finder:
    def find_spec(self, name, *_):
        if name == "proofs.claims_report":
            Dying()

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
sys.argv = ["adabatch", "claims"]
"""


def test_an_interrupt_in_the_middle_of_an_import_ends_the_command():
    """Packages destroy objects while they are imported, and Python cannot raise there: it would go on."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED + "commands.main()"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_before_a_command_begins_prints_nothing(monkeypatch, capfd):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "refuse_foreign_modules", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert capfd.readouterr() == ("", "")


def test_without_the_main_function_s_care_it_goes_on():
    """The control."""
    code = INTERRUPTED + "commands.interrupts = contextlib.nullcontext; commands.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "KeyboardInterrupt" in done.stderr
