"""``adabatch worth``: runs of the trainer and of other loops, and what is refused."""

from __future__ import annotations

import json
import math
import re

import pytest

from adabatch.moments.worth import schedule_over_constant
from adabatch.planning.plan import make_plan
from adabatch.settings import CONFIG, load_settings, write_config
from tests.support.noisy_runs import as_trainer_records, noisy_steps, write_lines

RAMP = [16 + 48 * k // 599 for k in range(600)]


def growing(share):
    return 8.0 * 16.0**share


@pytest.fixture(scope="module")
def steps():
    return noisy_steps(growing, RAMP)


@pytest.fixture
def loop(tmp_path, steps):
    return write_lines(tmp_path / "loop.jsonl", steps)


@pytest.fixture
def figures(tmp_path):
    return ["--output", tmp_path / "figures"]


@pytest.fixture(autouse=True)
def _not_drawn(request, monkeypatch):
    """Half a second per run; one test draws."""
    if "drawn" not in request.fixturenames:
        from adabatch.reporting import figures

        monkeypatch.setattr(
            figures, "write_figures", lambda made, folder: [folder / f"{name}.png" for name in made]
        )


@pytest.fixture
def drawn():
    """Figures are written."""


def test_the_text_tells_what_to_do(adabatch, loop, figures, drawn):
    shown = adabatch.output("worth", loop, *figures)
    assert f"{loop}: 600 steps, 600 with gradient statistics\n" in shown
    assert "(fitted to its own steps): B_sat = t0 / t1 = 2" in shown
    pattern = r"In this model a batch schedule saves at most \d\.\d% \(\d\.\d to \d\.\d\) of the time\. "
    assert re.search(pattern + r"Use a constant batch of \d\d\.", shown)
    assert "what B does within a part is not seen" not in shown
    assert "each batch at its own best learning rate" in shown
    assert "on a roofline, max(t0, t1 b): the best batch is B_sat = 2" in shown
    assert "at equal samples: the smallest batch makes most progress, and a schedule saves nothing" in shown
    for kind in ("png", "pdf"):
        assert (figures[1] / f"worth.{kind}").stat().st_size > 5000
    assert {path.name for path in figures[1].iterdir()} == {"worth.png", "worth.pdf"}


def test_a_short_run_says_that_it_cannot_see_changes(adabatch, steps, tmp_path, figures):
    loop = write_lines(tmp_path / "short.jsonl", steps[:60])
    shown = adabatch.output("worth", loop, "--saturation", 25, *figures)
    (parts,) = re.findall(r"in the first of (\d+) parts", shown)
    assert f"long enough for {parts} parts only: what B does within a part is not seen" in shown


def test_figures_as_json(adabatch, loop, figures):
    found = json.loads(adabatch.output("worth", loop, "--json", *figures))
    assert found["source"] == "fitted"
    assert found["step_time"]["fixed"] == pytest.approx(0.05, rel=0.15)
    assert found["step_time"]["per_sample"] == pytest.approx(0.002, rel=0.1)
    low, high = found["saturation"][1:]
    assert low < 25 < high
    assert len(found["samples"]) == len(found["noise_scale"]) == len(found["best_batch"]) >= 5
    ratio = schedule_over_constant(found["rho"][0], found["s"][0])
    assert found["saving"][0] == pytest.approx(1 - ratio, abs=0.004)
    assert found["rules"][0]["name"] == "the run's own"
    assert found["rules"][1]["time"] == [1, 1, 1]
    assert found["figure"].endswith("worth.png")
    again = json.loads(adabatch.output("worth", loop, "--json", *figures))
    assert again == found


def test_the_trainers_own_records_give_the_same(adabatch, loop, steps, tmp_path, figures):
    run = tmp_path / "run"
    write_lines(run / "metrics.jsonl", as_trainer_records(steps))
    of_loop = json.loads(adabatch.output("worth", loop, "--json", *figures))
    for path in (run, run / "metrics.jsonl"):
        of_run = json.loads(adabatch.output("worth", path, "--json", *figures))
        assert of_run["noise_scale"] == of_loop["noise_scale"]
        assert of_run["saturation"] == pytest.approx(of_loop["saturation"], rel=1e-3)
    records = [{**record, "seconds": 2 * record["batch_size"] + 64} for record in as_trainer_records(steps)]
    write_lines(run / "metrics.jsonl", records)  # recorded seconds come first
    of_run = json.loads(adabatch.output("worth", run, "--json", *figures))
    assert of_run["saturation"][0] == pytest.approx(32)


def test_steps_of_the_last_sequence_length_are_fitted(adabatch, steps, tmp_path, figures):
    """At first a sample of half the length takes half the time."""
    early = [{**step, "sequence_length": 32, "seconds": 0.05 + 0.001 * step["batch_size"]} for step in steps[:300]]
    late = [{**step, "sequence_length": 64, "seconds": 0.05 + 0.002 * step["batch_size"]} for step in steps[300:]]
    path = write_lines(tmp_path / "lengths.jsonl", [*early, *late])
    found = json.loads(adabatch.output("worth", path, "--saturation", 25, "--json", *figures))
    assert found["steps"] == 600
    time = json.loads(adabatch.output("worth", path, "--json", *figures))["step_time"]
    assert (time["fixed"], time["per_sample"]) == (pytest.approx(0.05, rel=1e-3), pytest.approx(0.002, rel=1e-3))


def test_given_step_times(adabatch, loop, figures):
    fitted = json.loads(adabatch.output("worth", loop, "--json", *figures))
    by_saturation = json.loads(adabatch.output("worth", loop, "--saturation", 40, "--json", *figures))
    by_times = json.loads(adabatch.output("worth", loop, "--step-time", "0.2,0.005", "--json", *figures))
    assert by_saturation["saturation"] == by_times["saturation"] == [40, 40, 40]
    assert by_saturation["saving"] == by_times["saving"] != fitted["saving"]
    ratio = by_saturation["constant"][0] / fitted["constant"][0]
    assert ratio == pytest.approx(math.sqrt(40 / fitted["saturation"][0]), rel=1e-9)
    assert "B_sat = 40 (given by --saturation)" in adabatch.output("worth", loop, "--saturation", 40, *figures)
    assert "a step takes 0.2 s and 0.005 s per sample (given by --step-time)" in adabatch.output(
        "worth", loop, "--step-time", "0.2,0.005", *figures
    )


def test_a_large_saving_gives_another_advice(adabatch, tmp_path, figures):
    steep = write_lines(tmp_path / "steep.jsonl", noisy_steps(lambda share: 0.5 + 300 * share**4, [16] * 2000))
    assert "Let the batch follow b*, " in adabatch.output("worth", steep, "--saturation", 40, *figures)


def test_values_that_are_not_finite_are_left_out_and_counted(adabatch, steps, tmp_path, figures):
    own = [dict(step) for step in steps]
    own[3]["trace"] = math.nan
    own[4]["squared_norm"] = math.inf
    own[5]["seconds"] = math.inf
    own[6].update(trace=None, squared_norm=None, seconds=None)  # not measured: nothing to count
    shown = adabatch.output("worth", write_lines(tmp_path / "holes.jsonl", own), *figures)
    assert "600 steps, 597 with gradient statistics, 3 values that are not finite left out" in shown
    records = as_trainer_records(steps)
    records[3]["noise_trace"] = None  # the trainer's null for what is not finite
    records[4].update(noise_trace=None, grad_sq_norm=None)
    shown = adabatch.output("worth", write_lines(tmp_path / "run" / "metrics.jsonl", records), *figures)
    assert "600 steps, 598 with gradient statistics, 1 value that is not finite left out" in shown


def test_a_table_of_optima(adabatch, loop, figures, tmp_path, monkeypatch):
    from adabatch.worth import optimum

    table = tmp_path / "optimum.json"
    monkeypatch.setattr(optimum, "TABLE", table)
    assert "this installation has no table of it (adabatch optimum)" in adabatch.output("worth", loop, *figures)
    tasks = [{"optimizer": "adam-like", "rho": 1.0, "s": 0.9, "saving": k / 100} for k in range(11)]
    table.write_text(json.dumps({"command": "x", "date": "y", "tasks": tasks}))
    assert "  adam-like: 5.0% (median), 9.0% (90%) of 11 tasks" in adabatch.output("worth", loop, *figures)
    assert json.loads(adabatch.output("worth", loop, "--json", *figures))["optimum"] == [
        {"optimizer": "adam-like", "tasks": 11, "median": 0.05, "ninety": 0.09}
    ]


def test_runs_that_say_too_little(adabatch, steps, tmp_path, figures):
    def run(records, name="run"):
        return write_lines(tmp_path / name / "metrics.jsonl", records).parent

    silent = [{**record, "noise_trace": None, "grad_sq_norm": None} for record in as_trainer_records(steps)]
    message = "has no gradient statistics in its 600 steps: train with --monitor-interval 1, or with a norm test"
    adabatch.refuses(message, "worth", run(silent), *figures)
    wild = [{**step, "trace": math.nan} for step in steps]
    message = "in its 600 steps, apart from 600 values that are not finite: train with"
    adabatch.refuses(message, "worth", write_lines(tmp_path / "wild.jsonl", wild), *figures)
    message = "has gradient statistics of 10 of its 10 steps, and at least 40 are needed"
    adabatch.refuses(message, "worth", run(as_trainer_records(steps[:10])), *figures)
    adabatch.refuses("has no gradient statistics in its 0 steps", "worth", run([]), *figures)
    noise = write_lines(tmp_path / "noise.jsonl", noisy_steps(lambda share: 1e5, [4] * 300))
    adabatch.refuses("is never resolved: on batches of 4 the gradient", "worth", noise, *figures)
    without = [{**record, "tokens_per_second": None} for record in as_trainer_records(steps)]
    adabatch.refuses("has no times of its steps: give --saturation B_SAT, ", "worth", run(without), *figures)
    same = write_lines(tmp_path / "same.jsonl", noisy_steps(growing, [16] * 600))
    message = "has batches of 16, whose times do not tell t0 from t1: give --saturation B_SAT"
    adabatch.refuses(message, "worth", same, *figures)
    cheap = write_lines(tmp_path / "cheap.jsonl", noisy_steps(growing, RAMP, fixed=1e-4))
    adabatch.refuses("does not resolve its t0 of ", "worth", cheap, *figures)
    assert not figures[1].exists()


def test_options_that_do_not_fit(adabatch, loop, figures):
    message = "--saturation, --step-time and --gpu each tell B_sat = t0 / t1: give one of them"
    adabatch.refuses(message, "worth", loop, "--saturation", 16, "--step-time", "1,2", *figures)
    adabatch.refuses("'--saturation': it must be above 0", "worth", loop, "--saturation", 0, *figures)
    adabatch.refuses("--step-time takes T0,T1", "worth", loop, "--step-time", "1;2", *figures)
    adabatch.refuses("--step-time with T0 = 0: ", "worth", loop, "--step-time", "0,1", *figures)
    for times in ("1e308,1", "1,1e-308", "-1,1", "1,0", "nan,1", "1,2,3"):
        adabatch.refuses("--step-time takes T0,T1", "worth", loop, "--step-time", times, *figures)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step": 1}, "line 2: step 1 with 32 samples comes after step 1 with 16: both must grow"),
        ({"samples": 16}, "line 2: step 2 with 16 samples comes after step 1 with 16: both must grow"),
        ({"samples": 31}, "line 2: a batch of 16 after 16 samples makes more than 31: samples counts those of"),
        ({"samples": None}, "line 2: samples must be a whole number above 0, but is null"),
        ({"batch_size": 0}, "line 2: batch_size must be a whole number above 0, but is 0"),
        ({"batch_size": 2.5}, "line 2: batch_size must be a whole number above 0, but is 2.5"),
        ({"batch_size": math.nan}, "line 2: batch_size must be a whole number above 0, but is NaN"),
        ({"trace": "much"}, 'line 2: trace must be a number or null, but is "much"'),
        ({"trace": True}, "line 2: trace must be a number or null, but is true"),
        ({"seconds": [1]}, "line 2: seconds must be a number or null, but is [1]"),
        ({"micro_batch": -1}, "line 2: micro_batch must be a whole number above 0, but is -1"),
        ({"squared_norm": -0.5}, "line 2: squared_norm is -0.5, but must be ||g||^2 of the batch's gradient"),
    ],
)
def test_wrong_lines_are_refused_by_number(adabatch, steps, tmp_path, figures, changed, message):
    lines = [steps[0], {**steps[1], **changed}, *steps[2:]]
    path = write_lines(tmp_path / "wrong.jsonl", lines)
    adabatch.refuses(f"{path}, {message}", "worth", path, *figures)


def test_lines_that_are_no_steps(adabatch, loop, tmp_path, figures):
    text = loop.read_text()
    first, rest = text.split("\n", 1)
    loop.write_text(f"{first}\nnot json\n{rest}")
    message = f"{loop}, line 2 is not a JSON object: each line is one step (docs/own_loop.md)"
    adabatch.refuses(message, "worth", loop, *figures)
    loop.write_text(f"{first}\n{rest}" + '{"step": 601, "samp')  # cut short
    assert "600 steps, 600 with" in adabatch.output("worth", loop, *figures)
    loop.write_text(f'{first}\n{{"step": 2, "samples": 32, "trace": 1, "squared_norm": 1}}\n{rest}')
    adabatch.refuses("line 2: batch_size must be a whole number above 0, but is missing", "worth", loop, *figures)
    missing = f"no metrics at {tmp_path}/metrics.jsonl: name the folder of a run"
    adabatch.refuses(missing, "worth", tmp_path, *figures)
    adabatch.refuses("no metrics at nowhere", "worth", "nowhere", *figures)
    (tmp_path / "text.txt").write_text("a\nb\n")
    adabatch.refuses("text.txt, line 1: no record", "worth", tmp_path / "text.txt", *figures)


@pytest.mark.parametrize("given", ["run", "run/metrics.jsonl"])
def test_another_loop_may_call_its_file_as_the_trainer_does(adabatch, steps, tmp_path, figures, given):
    write_lines(tmp_path / "run" / "metrics.jsonl", steps)
    assert "600 steps, 600 with gradient" in adabatch.output("worth", tmp_path / given, *figures)


def test_damaged_records_of_the_trainer(adabatch, steps, tmp_path, figures):
    records = as_trainer_records(steps)
    for changed, message in (
        ({"step": 1}, "step 1: step 1 with 32 samples comes after step 1 with 16: both must grow"),
        ({"samples": 20}, "step 2: a batch of 16 after 16 samples makes more than 20: samples counts those"),
        ({"micro_batch": "x"}, 'step 2: micro_batch must be a whole number above 0, but is "x"'),
        ({"tokens": None}, "step 2: tokens must be a whole number above 0, but is null"),
        ({"seconds": "x"}, "line 2: no record"),
    ):
        path = write_lines(
            tmp_path / "run" / "metrics.jsonl", [records[0], {**records[1], **changed}, *records[2:]]
        )
        adabatch.refuses(message, "worth", path.parent, *figures)
    del records[1]["batch_size"]
    write_lines(tmp_path / "run" / "metrics.jsonl", records)
    message = "step 2: batch_size must be a whole number above 0, but is missing"
    adabatch.refuses(message, "worth", tmp_path / "run", *figures)


def test_the_step_times_of_a_gpu_are_those_of_a_plan(adabatch, tmp_path, steps, figures):
    changes = {"initial_batch": 16, "max_batch": 64, "micro_batch": 4, "max_micro_batch": 16, "samples": 4096}
    write_config(load_settings("demo", overrides=changes), tmp_path)
    run = write_lines(tmp_path / "metrics.jsonl", as_trainer_records(steps))
    shown = adabatch.output("worth", run, "--gpu", "a100", *figures)
    plan = make_plan(load_settings(file=tmp_path / CONFIG, overrides={"gpu": "a100"}))
    first, largest = (plan.seconds(batch).all for batch in (plan.course.first, plan.course.largest))
    per_sample = (largest - first) / 48
    assert f"{first - 16 * per_sample:.3g} s and {per_sample:.3g} s per sample (given by --gpu a100)" in shown
    adabatch.refuses("the GPU 'a1000' is not known: take --gpu a100", "worth", run, "--gpu", "a1000", *figures)
    (tmp_path / CONFIG).unlink()
    adabatch.refuses(
        "has no config.toml, which says what a step computes", "worth", run, "--gpu", "a100", *figures
    )
