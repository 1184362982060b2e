"""Claims of a page of results: on a small page that is right, on ones that are not, and on docs/results.md."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from adabatch.experiments.comparison.claims.claims import (
    Claims,
    check,
    load_claims,
    page_faults,
    print_survival,
    read_comparisons,
    survival_table,
)
from adabatch.experiments.intervals import mean_interval
from tests.support.comparison_content import comparison, schedule
from tests.support.repository import ROOT

DOCS = ROOT / "docs"
COMMITTED = DOCS / "results" / "claims.json"

PAGE = """\
# Results

An introduction is not checked, e.g. 99.9.

- **Growing is worse.** The exchange ends +0.020 ± 0.012 nats (e.g. of `loss`.) above constant
  batches, within 0.03 of them.
- norm-test-0.7 cannot be told from it (−0.005).
"""
CLAIMS = {
    "page": "results.md",
    "claims": [
        {"sentence": "**Growing is worse.**", "holds": ["29k: exchange.gap resolved above 0"]},
        {
            "sentence": "The exchange ends +0.020 ± 0.012 nats (e.g. of `loss`.)\nabove constant batches, "
            "within 0.03 of them.",
            "holds": ["29k: exchange.gap resolved above 0", "29k: exchange.gap mean between -0.03 and 0.03"],
            "given": [0.03],
        },
        {
            "sentence": "norm-test-0.7 cannot be told from it (−0.005).",
            "holds": ["29k: norm-test-0.7.gap - exchange.gap unresolved", "29k: exchange.gap mean below 1"],
        },
    ],
}  # fmt: skip
EXCHANGE = schedule([0.015, 0.025, 0.02])
NORM_TEST = schedule([0.0, 0.03, 0.015])
CONTENT = comparison(**{"exchange": EXCHANGE, "norm_test_0.7": NORM_TEST})


def claims_of(content, folder: Path) -> Claims:
    (folder / "claims.json").write_text(json.dumps(content))
    return load_claims(folder / "claims.json")


def altered(number: int, **fields) -> dict:
    content = copy.deepcopy(CLAIMS)
    content["claims"][number] |= fields
    return content


@pytest.fixture
def claims(tmp_path):
    return claims_of(CLAIMS, tmp_path)


def test_a_page_that_is_right(claims):
    assert page_faults(claims, PAGE) == []
    verdicts = check(claims, {"29k": CONTENT})
    assert [verdict.holds for verdict in verdicts] == [True] * 3
    assert verdicts[1].sentence.startswith(
        "The exchange ends +0.020 ± 0.012 nats (e.g. of `loss`.) above constant"
    )
    assert verdicts[1].evidence == (
        "29k: exchange.gap = +0.0200 ± 0.0124 (n 3), p 0.02 after Holm: resolved above 0",
        "29k: exchange.gap = +0.0200 ± 0.0124 (n 3), p 0.02 after Holm: mean between -0.03 and 0.03",
    )
    assert verdicts[2].evidence[0].startswith("29k: norm-test-0.7.gap - exchange.gap = -0.0050 ± 0.0")


@pytest.mark.parametrize(
    ("flipped", "evidence"),
    [
        ("29k: exchange.gap resolved below 0", "this does not hold: resolved below 0"),
        ("29k: exchange.gap unresolved", "this does not hold: unresolved"),
    ],
)
def test_a_flipped_relation_is_rejected(tmp_path, flipped, evidence):
    verdict = check(claims_of(altered(0, holds=[flipped]), tmp_path), {"29k": CONTENT})[0]
    assert not verdict.holds
    assert verdict.evidence == (f"29k: exchange.gap = +0.0200 ± 0.0124 (n 3), p 0.02 after Holm: {evidence}",)


@pytest.mark.parametrize(
    ("number", "before", "after"),
    [
        (1, "+0.020", "+0.021"),
        (1, "+0.020", "−0.020"),
        (1, "0.012", "0.013"),
        (1, "0.012", "0.020"),  # a figure's, but the same one's as the number before
        (1, "0.03", "0.04"),
        (2, "−0.005", "−0.006"),
        (2, "−0.005", "−0.0051"),
        (2, "norm-test-0.7", "norm-test-0.8"),
    ],
)
def test_a_number_changed_by_one_digit_is_rejected(tmp_path, number, before, after):
    sentence = CLAIMS["claims"][number]["sentence"].replace(before, after)
    verdict = check(claims_of(altered(number, sentence=sentence), tmp_path), {"29k": CONTENT})[number]
    assert not verdict.holds
    assert "is not shown by a figure" in verdict.evidence[-1]


def test_every_sentence_is_compared_with_the_page(tmp_path, claims):
    changed = PAGE.replace("cannot be told", "can be told")
    assert page_faults(claims, changed) == [
        "not a sentence of results.md: norm-test-0.7 cannot be told from it (−0.005). (it has: norm-test-0.7 can "
        "be told from it (−0.005).)",
        "not among the claims: norm-test-0.7 can be told from it (−0.005).",
    ]
    part = claims_of(altered(2, sentence="norm-test-0.7 cannot be told"), tmp_path)
    assert len(page_faults(part, PAGE)) == 2
    assert page_faults(claims, PAGE + "- One more.") == ["not among the claims: One more."]
    assert page_faults(claims, PAGE + "\nOne more, in a paragraph.") == []


def test_a_claim_may_be_in_a_paragraph(tmp_path):
    content = copy.deepcopy(CLAIMS)
    content["claims"].append(CLAIMS["claims"][0] | {"sentence": "An introduction is not checked, e.g. 99.9."})
    assert page_faults(claims_of(content, tmp_path), PAGE) == []


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("92k: exchange.gap unresolved", "the comparison '92k' is not known: there are 29k"),
        ("29k: change.gap unresolved", "the schedule 'change' is not in this comparison: it has exchange, norm-"),
        ("29k: exchange.time.B_sat 64 mean below 1", "has times for none"),
        ("29k: setting.seed mean above 1", "setting has parameters"),
    ],
)
def test_errors_say_which_claim(tmp_path, condition, message):
    with pytest.raises(ValueError, match=rf"claim 2, 'The exchange ends .*': .*{message}"):
        check(claims_of(altered(1, holds=[condition]), tmp_path), {"29k": CONTENT})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"holds": []}, "at least one condition"),
        ({"holds": "29k: exchange.gap unresolved"}, "at least one condition"),
        ({"sentence": None}, "a claim has a sentence"),
        ({"given": ["0.1"]}, "list given of numbers"),
        ({"gives": [0.1]}, "nothing else"),
        ({"holds": ["29k: exchange.gap is above 0"]}, "is not a condition"),
        ({"holds": ["29k: exchange.gaps unresolved"]}, "is not a figure"),
    ],
)
def test_claims_of_another_form(tmp_path, fields, message):
    with pytest.raises(ValueError, match=rf"claims.json: claim 2, .*{message}"):
        claims_of(altered(1, **fields), tmp_path)


@pytest.mark.parametrize("content", [[], {"page": "results.md"}, {"claims": []}, {"page": "a.md", "claims": 3}])
def test_files_of_another_form(tmp_path, content):
    with pytest.raises(ValueError, match="is not a file of claims"):
        claims_of(content, tmp_path)


def test_files_that_are_not_there(tmp_path, claims):
    with pytest.raises(ValueError, match="is not a file of claims"):
        load_claims(tmp_path / "none.json")
    with pytest.raises(ValueError, match="does not exist: adabatch compare writes it"):
        read_comparisons(claims, tmp_path)
    (tmp_path / "29k").mkdir()
    for text, message in (("{", "is not JSON"), ("{}", "does not hold a comparison"), ("[]", "does not hold")):
        (tmp_path / "29k" / "comparison.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_comparisons(claims, tmp_path)
    (tmp_path / "29k" / "comparison.json").write_text(json.dumps(CONTENT))
    assert read_comparisons(claims, tmp_path) == {"29k": CONTENT}


def test_which_claims_survive_another_comparison(tmp_path, claims):
    others = {
        "same": CONTENT,
        "noisy": comparison(**{"exchange": schedule([-0.05, 0.05, 0.02]), "norm_test_0.7": NORM_TEST}),
        "better": comparison(exchange=schedule([-0.015, -0.025, -0.02])),
        "outside": comparison(**{"exchange": schedule([None] * 3), "norm_test_0.7": NORM_TEST}),
        "many": comparison(exchange=schedule([0.015, 0.025, 0.02], p_holm=0.2)),
        "lone": comparison(exchange=schedule([0.02])),
    }
    table = survival_table(claims, others)
    assert table.columns == ("sentence", *others)
    assert [cells for _, *cells in table.rows] == [
        ["yes", "no", "no", "–", "no", "–"],
        ["yes", "no", "no", "–", "no", "–"],
        ["yes", "yes", "–", "–", "–", "–"],
    ]
    for name, content in others.items():  # the twin: the claims, rewritten for that comparison, checked
        rewritten = json.loads(json.dumps(CLAIMS).replace("29k:", f"{name}:"))
        for number, row in enumerate(table.rows):
            one = claims_of(rewritten | {"claims": rewritten["claims"][number : number + 1]}, tmp_path)
            answer = dict(zip(table.columns, row, strict=True))[name]
            if answer == "–":
                with pytest.raises(ValueError, match="claim 1"):
                    check(one, {name: content})
            else:
                evidence = check(one, {name: content})[0].evidence
                assert any("does not hold" in text for text in evidence) == (answer == "no")


def test_what_a_user_sees_of_another_comparison(tmp_path, claims):
    (tmp_path / "comparison.json").write_text(json.dumps(comparison(exchange=EXCHANGE)))
    text = print_survival(tmp_path / "claims.json", tmp_path / "comparison.json")
    lines = text.splitlines()
    assert lines[0] == "### Sentences of results.md"
    assert [line.split("|")[-2].strip() for line in lines if line.startswith("|")][2:] == ["yes", "yes", "–"]
    assert lines[-1] == f"2 of 2 sentences hold in {tmp_path / 'comparison.json'}."


@pytest.fixture(scope="module")
def committed():
    claims = load_claims(COMMITTED)
    return claims, read_comparisons(claims, COMMITTED.parent)


def test_the_page_of_results_states_what_its_figures_show(committed):
    claims, comparisons = committed
    assert page_faults(claims, (DOCS / claims.page).read_text(encoding="utf-8")) == []
    refuted = [verdict for verdict in check(claims, comparisons) if not verdict.holds]
    assert refuted == []


def test_the_figures_of_the_page_are_those_of_its_seeds(committed):
    """The tables' means and intervals, which the page shows, are of the runs by seed, which conditions look at."""
    for content in committed[1].values():
        for entry in content["schedules"].values():
            runs = list(entry["by_seed"].values())
            by_seed = {
                name: [run[name] for run in runs if run[name] is not None] for name in ("loss", "gap", "steps")
            }
            for control in ("rates_replayed", "batches_replayed"):
                pairs = [(run["loss"], run[control]) for run in runs if None not in (run["loss"], run[control])]
                by_seed[f"minus_{control}"] = [loss - other for loss, other in pairs]
            assert entry["steps"] == pytest.approx(mean_interval(by_seed.pop("steps")).mean)
            for name, values in by_seed.items():
                shown = entry[name]
                if shown and shown["mean"] is not None and shown["low"] is not None:
                    interval = mean_interval(values)
                    assert (shown["mean"], shown["low"], shown["high"], shown["seeds"]) == pytest.approx(
                        (interval.mean, interval.low, interval.high, interval.count), abs=1e-9
                    )
