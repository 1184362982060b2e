"""lm-eval on a task and data of the test's own, where lm-eval is installed (``pip install 'adabatch[eval]'``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adabatch.evaluation.tasks import open_tasks, task_scores
from adabatch.export import export_run
from tests.adabatch.evaluation.test_subject import trained_run

QUESTIONS = [("return", ["(batch)", " 2 *", "xyz"], 1), ("def sch", ["edule", "qqqqq", "batch"], 0)]
QUESTIONS += [("(batch):", ["return", "zz", "de"], 2), ("batch)", [":", "?", " "], 0), ("2 * ", ["batch", "2"], 1)]

TASK = """
task: continuations
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, and a task on questions of its text."""
    folder = tmp_path_factory.mktemp("tasks")
    export_run(trained_run(folder), folder / "exported")
    lines = [json.dumps(dict(zip(("question", "choices", "answer"), each, strict=True))) for each in QUESTIONS]
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "definitions").mkdir()
    (folder / "definitions" / "continuations.yaml").write_text(TASK % (folder / "questions.jsonl"))
    return folder


def likeliest(folder: Path, question: str, choices: list[str]) -> int:
    """By hand: the continuation of the highest probability."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = []
    for choice in choices:
        before, tokens = (
            tokenizer(text, return_tensors="pt")["input_ids"] for text in (question, question + choice)
        )
        with torch.no_grad():
            logs = model(tokens).logits[0].log_softmax(-1)
        places = range(before.shape[1], tokens.shape[1])
        found.append(sum(float(logs[place - 1, tokens[0, place]]) for place in places))
    return found.index(max(found))


def test_accuracy_is_that_by_hand(exported):
    pytest.importorskip("lm_eval")
    right = [
        likeliest(exported / "exported", question, choices) == answer for question, choices, answer in QUESTIONS
    ]
    manager = open_tasks(["continuations"], exported / "definitions")
    scores = task_scores(exported / "exported", ["continuations"], manager)["continuations"]
    assert scores["acc"] == sum(right) / len(right)
    assert 0 < scores["acc"] < 1
    with pytest.raises(ValueError, match=r"no task 'continuation': .*; did you mean continuations\?"):
        open_tasks(["continuation"], exported / "definitions")


def test_tasks_of_a_run_go_through_an_export(adabatch, exported):
    pytest.importorskip("lm_eval")
    given = ["--tasks", "continuations", "--task-folder", exported / "definitions"]
    of_run = adabatch.output("evaluate", exported / "run", *given, "--output", exported / "found.json")
    of_export = adabatch.output("evaluate", exported / "exported", *given)
    assert of_run.splitlines()[-1] == of_export.splitlines()[-1]
    assert json.loads((exported / "found.json").read_text())["tasks"]["continuations"]["acc"] > 0


def test_without_lm_eval_what_to_install_is_told_before_anything_is_computed(adabatch, monkeypatch, tmp_path):
    monkeypatch.setattr("adabatch.evaluation.tasks.find_spec", lambda name: None)
    message = "--tasks needs the package lm_eval: pip install 'adabatch[eval]'"
    adabatch.refuses(message, "evaluate", tmp_path, "--tasks", "hellaswag")
