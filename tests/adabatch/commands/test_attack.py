"""``adabatch attack``: what it prints and writes, own bounds, and what is refused."""

from __future__ import annotations

import json

import pytest

from tests.support.repository import ROOT

QUICK = ("--steps", 3, "--seconds", 0.5, "--processes", 1)
OWN = '''
from simulate.laboratory import BoundRule

class Wishful(BoundRule):
    """sum_k ||G_k||_1 is at most Delta / alpha."""
    name = "wishful"
    def value(self, run):
        return run.problem.initial_gap / run.optimizer.step_size

class Negative(Wishful):
    """-1."""
    def value(self, run):
        return -1.0

class Nowhere(Wishful):
    """Of what is not known."""
    measured = "batch_sum"
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path


def test_a_bound_that_holds_is_searched_saved_and_replayed(adabatch, folder):
    printed = adabatch.output("attack", "sgd", "--eta", 0.5, *QUICK)
    assert printed.startswith("sgd at eta 0.5")
    assert printed.endswith("written to runs/attack\nthe bound holds on it\n")
    assert {path.name for path in (folder / "runs/attack").iterdir()} == {
        "instance.json",
        "attack.csv",
        "attack.pdf",
        "attack.png",
    }
    again = adabatch.output("attack", "--replay", "runs/attack/instance.json", "--exact")
    found, exact, verdict = again.splitlines()
    assert found in printed
    assert exact.startswith("in fractions measured ")
    assert float(exact.rpartition(" ")[2]) < 1e-12
    assert verdict == "the bound holds on it"
    smaller = adabatch("attack", "--replay", "runs/attack/instance.json", "--scale-bound", 1e-3)
    assert (smaller.code, smaller.out.splitlines()[-1]) == (1, "the bound is broken")


def test_an_own_bound_is_broken_and_replayed_where_it_is_named(adabatch, folder):
    ended = adabatch("attack", "mine.py:Wishful", "--vary", "v0", *QUICK)
    assert ended.code == 1, ended.err
    assert ended.out.splitlines()[-1].startswith("the bound is broken after 0.")
    replay = ("--replay", "runs/attack/instance.json")
    adabatch.refuses("wants 'mine.py:Wishful', which is your own code: give it as BOUND too", "attack", *replay)
    assert adabatch("attack", "mine.py:Wishful", *replay).code == 1
    example = f"{ROOT}/examples/own_bound.py:LeadingTerms"
    assert adabatch("attack", example, *replay).code == 0
    assert adabatch("attack", f"{example},factor=1e9", *replay).code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a bound, as adabatch list bounds has it, or give --replay FILE"),
        (("theorem-9",), "unknown bound 'theorem-9'; known: adagrad, "),
        (("mine.py:Missing",), "mine.py has no 'Missing'; it has: Wishful, Negative, Nowhere"),
        (("mine.py:Negative",), "bound 'wishful': value(run) must return a positive number, but at K = 3 it = -1"),
        (
            ("mine.py:Nowhere",),
            "no admissible instance was found for mine.py:Nowhere at betas (0.9, 0.95), eta 0.2",
        ),
        (("l1-test",), "bound 'l1-test' applies to no instance of adam at eta 0.2: requires"),
        (("theorem-1", "--eta", 0.99), "the supremum of the admissible values is eta = 0.27"),
        (("theorem-1", "--betas", "0.9"), "--betas takes two numbers, as in 0.9,0.95, not '0.9'"),
        (("theorem-1", "--vary", "v1"), "unknown 'v1' to vary"),
        (("sgd", "--steps", 13), "'--steps': it must be from 0 to 12, but is 13"),
        (("--replay", "mine.py"), "mine.py is not an instance, as adabatch attack writes it: "),
        (("--replay", "steep.json"), "steep.json is not evidence on 'sgd': largest slope, 3 > 2"),
        (("theorem-1", "--replay", "steep.json"), "requires Adam or RMSProp, but sgd"),
        (("--replay", "nothing.json"), "nothing.json does not exist"),
    ],
)
def test_what_cannot_be_attacked_is_refused(adabatch, folder, words, message):
    steep = {"bound": "sgd", "optimizer": "sgd", "smoothness": 2.0, "step_size": 0.25, "eta": 0.5, "width": 1.0}
    steep |= {"first": 2.0, "slopes": [2.0, 3.0], "below": [[0.5, 0.5]], "above": [[0.5, 0.5]]}
    (folder / "steep.json").write_text(json.dumps(steep))
    adabatch.refuses(message, "attack", *QUICK, *words)
