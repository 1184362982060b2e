"""``adabatch verify-bounds``: exit codes, one message for bad input, no torch."""

import json
import subprocess
import sys

import pytest


def test_a_small_run(adabatch, tmp_path):
    out = tmp_path / "out"
    words = ["verify-bounds", "--quick", "--experiment", "sign-descent", "--output", out]
    printed = adabatch.output(*words, "--experiment", "rmsprop")
    assert "Theorem 1, sign descent" in printed
    assert "All 3 verdicts came out as they should." in printed
    record = json.loads((out / "report.json").read_text())
    assert record["settings"]["level"] == "quick"
    assert "verify-bounds --quick --experiment sign-descent" in record["command"]
    adabatch.refuses("--overwrite", *words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beta1", "0.9", "--beta2", "0.95", "--eta", "0.7"], "admissible values is eta = 0.684364"),
        (["--objective", "sphere"], "unknown objective 'sphere'; known:"),
        (["--optimizer", "lion"], "unknown optimizer 'lion'; known:"),
        (["--experiment", "slope"], "unknown experiment 'slope'; known:"),
        (["--quick", "--full"], "--quick and --full exclude each other"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, tmp_path, arguments, message):
    adabatch.refuses(message, "verify-bounds", *arguments, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_torch_is_not_imported():
    code = (
        "import sys; import adabatch.commands.application, simulate.verify_bounds as v, simulate.report.figures;"
        "from simulate.experiments.settings import *;"
        "s = Settings(level=Level.QUICK); [e.run(s, lambda _: None) for n, e in v.EXPERIMENTS.items() if n in"
        " ('sign-descent', 'related-bounds', 'published-theorem')];"
        "print(sorted({'torch', 'sympy', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.slow
def test_everything_comes_out_as_it_should(adabatch, tmp_path):  # --quick is one of README's commands
    ended = adabatch("verify-bounds", "--output", tmp_path / "out")
    assert ended.code == 0, ended.out[-3000:]
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(record["experiments"]) == 12
