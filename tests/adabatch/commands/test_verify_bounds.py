"""``adabatch verify-bounds``: exit codes, one message for bad input, no torch, only verdicts that were checked."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest

from simulate.experiments.adam import slopes
from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.result import Table
from simulate.noise import NOISES
from simulate.objectives import OBJECTIVES, GemanMcClure, PseudoHuber, Quadratic
from simulate.optimizers import OPTIMIZERS, Adam


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
        (["--beta1", "0.9", "--beta2", "0.95", "--eta", "0.97"], "admissible values is eta = 0.955738"),
        (["--objective", "sphere"], "unknown objective 'sphere'; known:"),
        (["--optimizer", "lyon"], "unknown optimizer 'lyon'; known:"),
        (["--experiment", "slope"], "unknown experiment 'slope'; known:"),
        (["--quick", "--full"], "--quick and --full exclude each other"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, tmp_path, arguments, message):
    adabatch.refuses(message, "verify-bounds", *arguments, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Faster(Adam):
    """A rule of its own: twice Adam's step."""

    name = "faster"

    def step(self, w, g, state, step):
        return w + 2 * (super().step(w, g, state, step) - w)


class Mine(GemanMcClure):
    """An own objective, right: 3 sum_i w_i^2 / (1 + w_i^2), whose class has another's name."""

    spread = 1.0
    scale = 3.0


class Flipped(GemanMcClure):
    """The last coordinate of the gradient has the wrong sign."""

    def gradient(self, w):
        return super().gradient(w) * np.array([1.0] * (self.dimension - 1) + [-1.0])


class Scaled(GemanMcClure):
    """A gradient that is 1% too large."""

    def gradient(self, w):
        return 1.01 * super().gradient(w)


class Understated100(GemanMcClure):
    """L = 2, stated as 0.02."""

    smoothness = 0.02


class Understated15(GemanMcClure):
    """L = 2, stated as 1.333."""

    smoothness = 2 / 1.5


class TooHigh(GemanMcClure):
    """The infimum is 0."""

    infimum = 0.1


@pytest.fixture
def refuses(adabatch, tmp_path):
    """The command is refused with this message before it writes anything."""

    def check(message, *words):
        adabatch.refuses(message, "verify-bounds", *words, "--output", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    return check


@pytest.mark.parametrize("words", [["--quick"], ["--quick", "--experiment", "bounds"], ["--experiment=clipping"]])
def test_a_replaced_optimizer_is_refused(refuses, monkeypatch, words):
    monkeypatch.setitem(OPTIMIZERS, "adam", Faster)
    refuses("optimizer 'adam' was replaced in OPTIMIZERS: the theorems are on the built-in ones", *words)


def test_an_added_and_a_removed_optimizer_and_noise_are_refused(refuses, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(OPTIMIZERS, "faster", Faster)
        refuses("optimizer 'faster' was added in OPTIMIZERS", "--quick")
        refuses("optimizer 'faster' was added in OPTIMIZERS", "--quick", "--optimizer", "faster")
    with monkeypatch.context() as patch:
        patch.delitem(OPTIMIZERS, "sgd")
        refuses("optimizer 'sgd' was removed in OPTIMIZERS", "--quick")
    with monkeypatch.context() as patch:
        patch.setitem(NOISES, "gaussian", NOISES["none"])
        refuses("noise 'gaussian' was replaced in NOISES", "--quick")


def test_a_replaced_objective_is_refused(refuses, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "quadratic", functools.partial(Quadratic, largest=2.0))
    refuses("objective 'quadratic' was replaced in OBJECTIVES: experiments rely on the built-in one", "--quick")


@pytest.mark.parametrize("experiment", ["bounds", "slopes", "related-bounds"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Flipped, "objective 'mine': its gradient is not that of its value: at w = ("),
        (Scaled, "objective 'mine': its gradient is not that of its value: at w = ("),
        (Understated100, "objective 'mine': smoothness 0.02 is too small: from w = ("),
        (Understated15, "objective 'mine': smoothness 1.33333 is too small: from w = ("),
        (TooHigh, "objective 'mine': infimum 0.1 is too high: the value at w = ("),
    ],
)
def test_an_own_objective_that_is_not_what_it_says_is_refused(refuses, monkeypatch, kind, message, experiment):
    monkeypatch.setitem(OBJECTIVES, "mine", kind)
    refuses(message, "--quick", "--experiment", experiment, "--objective", "mine")
    refuses(message, "--quick", "--objective", "quadratic", "--objective=mine", "--experiment", experiment)


def test_a_built_in_objective_that_was_altered_in_place_is_refused_by_default(refuses, monkeypatch):
    monkeypatch.setattr(PseudoHuber, "gradient", lambda self, w: w / np.sqrt(1 + w * w) * self.width)
    monkeypatch.setattr(PseudoHuber, "smoothness", 0.01)
    refuses("objective 'pseudo-huber': smoothness 0.01 is too small", "--quick")


def test_an_own_objective_that_is_right_is_checked_under_its_own_name(adabatch, monkeypatch, tmp_path):
    monkeypatch.setitem(OBJECTIVES, "mine", Mine)
    words = ["verify-bounds", "--quick", "--experiment", "bounds", "--experiment", "related-bounds"]
    words += ["--objective", "mine", "--steps", "32", "--seeds", "1", "--output", tmp_path / "out"]
    assert "verdicts came out as they should" in adabatch.output(*words)
    for name in ("ratios", "related_bounds"):
        table = Table.read_csv(tmp_path / "out" / "figures" / f"{name}.csv")
        assert table.values("objective") == ["mine"]


APPLIES_NOWHERE = [
    ("--experiment sign-descent --seed 5", "--seed does not apply to sign-descent: it is for bounds,"),
    ("--experiment clipping --steps 64", "--steps does not apply to clipping: it is for bounds, slopes, related"),
    (
        "--steps=64 --experiment=clipping --experiment=rmsprop",
        "--steps does not apply to clipping, rmsprop: it",
    ),
    ("--experiment ratio-map --seeds 3", "--seeds does not apply to ratio-map: it is for bounds, slopes"),
    ("--experiment related-bounds --eta 0.3", "--eta does not apply to related-bounds: it is for bounds, slopes"),
    ("--beta1 0.5 --experiment sharpness", "--beta1 does not apply to sharpness: it is for bounds, slopes"),
    ("--beta2 0.9 --experiment scalar-test", "--beta2 does not apply to scalar-test: it is for bounds, slopes"),
    ("--experiment ratio-map --objective quadratic", "--objective does not apply to ratio-map: it is for bounds"),
    (
        "--experiment rmsprop --optimizer rmsprop",
        "--optimizer does not apply to rmsprop: it is for bounds",
    ),
    (
        "--experiment bounds --optimizer adam --optimizer sgd",
        "--optimizer sgd does not apply to bounds: it is for related-bounds",
    ),
    (
        "--experiment bounds --experiment related-bounds --optimizer sgd",
        "nothing to run: bounds need --optimizer adam",
    ),
    ("--optimizer sgd --eta 0.3", "--eta does not apply to sharpness, sign-descent"),
]


@pytest.mark.parametrize(("arguments", "message"), APPLIES_NOWHERE)
@pytest.mark.parametrize("level", [[], ["--quick"], ["--full"]])
def test_an_option_that_applies_to_no_chosen_experiment_is_refused(refuses, level, arguments, message):
    refuses(message, *level, *arguments.split())


def test_an_option_that_applies_to_some_is_taken_and_the_others_are_named(adabatch, tmp_path):
    words = ["verify-bounds", "--quick", "--experiment", "sign-descent", "--experiment", "rmsprop", "--seed", "3"]
    printed = adabatch.output(*words, "--output", tmp_path / "out")
    assert "--seed has no effect on sign-descent." in printed
    assert "All 3 verdicts came out as they should." in printed


def test_an_experiment_named_twice_is_run_once(adabatch, tmp_path):
    words = ["verify-bounds", "--quick", *["--experiment", "sign-descent"] * 2, "--output", tmp_path / "out"]
    assert "The one verdict came out as it should." in adabatch.output(*words)


@pytest.mark.parametrize("others", [[], ["--experiment", "sign-descent"]])
def test_a_table_that_checked_nothing_is_an_error(adabatch, tmp_path, others):
    """64 steps are too few for any slope."""
    words = ["verify-bounds", "--quick", "--experiment", "slopes", "--steps", "64", *others]
    ended = adabatch(*words, "--output", tmp_path / "out")
    assert ended.code == 2
    assert "nothing was checked: no verdict of slopes (no slope on geman-mcclure, rastrigin, " in ended.err
    assert "verdicts" not in ended.out
    assert not (tmp_path / "out").exists()


def test_what_has_no_verdict_next_to_others_is_named(adabatch, tmp_path, monkeypatch):
    monkeypatch.setattr(slopes.Curve, "pre_asymptotic", property(lambda curve: curve.objective == "quadratic"))
    words = ["verify-bounds", "--quick", "--experiment", "slopes", "--seeds", "2", "--steps", "4096"]
    words += ["--objective", "quadratic", "--objective", "pseudo-huber", "--output", tmp_path / "out"]
    printed = adabatch(*words).out
    assert "No verdict: no slope on quadratic, where runs are too short" in printed
    assert "Rate on quadratic" not in printed


def test_torch_is_not_imported():
    code = (
        "import sys; import adabatch.commands.application, simulate.verify_bounds as v, simulate.report.figures;"
        "from simulate.experiments.pieces import Pieces;"
        "from simulate.experiments.settings import *;"
        "s = Settings(level=Level.QUICK); [e.run(s, Pieces()) for n, e in v.EXPERIMENTS.items() if n in"
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
    assert [experiment["name"] for experiment in record["experiments"]] == list(EXPERIMENTS)
