"""``adabatch covers``: the mapping from settings and records to theory.coverage, and what is printed."""

from __future__ import annotations

import json
import math

import pytest

from adabatch.commands.covers import configuration, recorded_tests
from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import Settings, load_settings, to_toml
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from theory.coverage import NormTestKind, coverage
from theory.l1.theorem3 import NAMES

PLAIN = {"warmup_samples": 0, "weight_decay": 0.0, "clip": 0.0, "epsilon": 0.0}


def step(batch_size: int, statistic: float | None, **more: object) -> dict[str, object]:
    return {
        "step": 1,
        "samples": batch_size,
        "batch_size": batch_size,
        "micro_batch": 1,
        "test_statistic": statistic,
        "batch_limited": False,
        **more,
    }


def left(settings: Settings, records: tuple = ()) -> list[str]:
    return [departure.hypothesis for departure in coverage(configuration(settings, records)).departures]


def test_a_preset_is_not_covered_and_says_what_would_have_to_change(adabatch) -> None:
    shown = adabatch.output("covers", "--preset", "demo")
    assert "469,632 parameters; batches by norm-test, the scalar norm test at eta = 1" in shown
    assert "no step has been recorded" in shown
    assert "not covered; nearest: theorem of the scalar norm test" in shown
    assert "change: the l1 or the coordinate-wise test in place of the scalar one" in shown
    assert shown.count("leaves:") == shown.count("known:") == shown.count("change:") >= 3


def test_a_run_is_read_with_its_records(adabatch, tmp_path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(load_settings("demo")))
    records = [step(8, 9.0), step(16, 12.0), step(16, None, batch_limited=True)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    shown = adabatch.output("covers", tmp_path)
    assert "of 3 steps, 2 were tested, 1 met the test with their own batch, 1 batches were held back" in shown
    assert "leaves: a test that holds at every step" in shown


def test_a_settings_file(adabatch, tmp_path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[schedule]\ntest = "coordinate"\neta = 0.2\n')
    shown = adabatch.output("covers", "--config", file)
    assert "the coordinate norm test at eta = 0.2" in shown
    assert "leaves: a clipping factor of at least phi0 > 0" in shown
    table = shown[shown.index("plain Adam under this test") :].splitlines()
    assert [line.split("  ")[0] for line in table[1:]] == ["Theorem 1", "Theorem 2", *NAMES.values()]
    assert "leaves: a test met by every coordinate" in shown


def test_another_optimizer_is_covered_by_no_theorem_on_adam(adabatch, tmp_path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[optimizer]\noptimizer = "sgd"\nweight_decay = 0.0\nclip = 0.0\n')
    shown = adabatch.output("covers", "--config", file)
    assert "not covered: the theorems are on Adam, not on --optimizer sgd; those on SGD without momentum" in shown
    assert "theorem 1" not in shown.lower()


def test_weights_that_do_not_decay_are_not_held_in_the_box() -> None:
    both = [
        load_settings(overrides=PLAIN | {"weight_decay": 0.1, "weight_decay_on": on}) for on in ("all", "matrices")
    ]
    box, none = (configuration(settings).largest_weight for settings in both)
    assert box is not None
    assert box < none == math.inf


MEASURED = {"sum_of_deviations": 4.0, "grad_l1_norm": 3.0, "grad_l1_norm_conservative": 2.0}


def test_a_run_is_judged_by_the_noise_that_it_has_had(adabatch, tmp_path) -> None:
    """4 / sqrt(16) over 2 in every step: 0.5; and what keeps it from being certified."""
    (tmp_path / "config.toml").write_text(to_toml(load_settings("demo")))
    records = [step(16, 1.0, loss=2.0, lr=1e-3, samples=16 * k, **MEASURED) for k in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    checkpoint = tmp_path / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "complete.json").write_text("{}")
    for epoch, seen in ((48, "met: fresh samples"), (47, "NOT MET: fresh samples")):
        progress = {"step": 3, "samples": 48, "schedule": {}, "settings": {}, "world_size": 1}
        corpus = {"train": {"samples": epoch, "tokenizer": {"fingerprint": "x"}}, "vocabulary_size": 9}
        (checkpoint / "progress.json").write_text(json.dumps(progress | {"corpus": corpus}))
        shown = adabatch.output("covers", tmp_path)
        assert "a posteriori: eta_eff = 0.5 [0.5, 0.5]" in shown
        assert f"  {seen}" in shown
        assert "  NOT MET: no clipping (largest norm 1" in shown
        assert "  met: eta_eff below J / lambda, with its interval (0.5 < 1.264)" in shown
        assert "  it would be certified: mean of E||G_k||_1 <= " in shown


def test_a_run_without_measured_coordinates_says_how_to_measure_them(adabatch, tmp_path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(load_settings("demo")))
    (tmp_path / "metrics.jsonl").write_text(json.dumps(step(8, 9.0)) + "\n")
    assert "--l1-denominator conservative and --coordinate-stride 1" in adabatch.output("covers", tmp_path)


@pytest.mark.slow
def test_the_preset_meets_every_hypothesis(adabatch, tmp_path) -> None:
    options = {"samples": 1280, "validation_interval": 0, "figures": False, "output": str(tmp_path / "run")}
    settings = load_settings("certified", overrides=options)
    run = open_run(settings, DistributedContext())
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "config.toml").write_text(to_toml(settings))
    with (tmp_path / "run" / "metrics.jsonl").open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in train(run))
    shown = adabatch.output("covers", tmp_path / "run")
    assert "NOT MET" not in shown
    assert "  certified: mean of E||G_k||_1 <= " in shown


@pytest.mark.parametrize("arguments", [(), ("RUN", "--preset", "demo"), ("RUN",)])
def test_what_is_asked_must_be_clear(adabatch, tmp_path, arguments) -> None:
    given = [tmp_path if argument == "RUN" else argument for argument in arguments]
    adabatch.refuses("name one of them" if len(given) != 1 else "no config.toml", "covers", *given)


def test_every_setting_that_matters_is_read() -> None:
    settings = load_settings(overrides={"beta1": 0.8, "beta2": 0.99, "eta": 0.1, "test": "l1", "clip": 0.0})
    found = configuration(settings)
    assert (found.beta1, found.beta2, found.eta, found.test) == (0.8, 0.99, 0.1, NormTestKind.L1)
    assert (found.epsilon, found.bias_correction, found.warmup_steps, found.decays) == (1e-8, True, 256, True)
    assert (found.clips, found.groups, found.enforced) == (False, 4, False)
    assert found.largest_weight == pytest.approx(0.2 / (0.01 * (1 - 0.64 / 0.99)) ** 0.5 / 0.1)


def test_tests_that_held_at_every_step_count_as_enforced() -> None:
    settings = load_settings(overrides={**PLAIN, "test": "coordinate", "eta": 0.2, "coordinate_quantile": 1.0})
    hypothesis = "a test that holds at every step"
    assert hypothesis in left(settings)
    assert hypothesis not in left(settings, (step(64, 50.0), step(64, 64.0)))
    assert hypothesis in left(settings, (step(64, 50.0), step(64, None)))


def test_the_fewest_groups_of_any_step_count() -> None:
    settings = load_settings(overrides={"initial_batch": 16, "micro_batch": 4})
    assert configuration(settings).groups == 4
    assert configuration(settings, (step(32, 1.0) | {"micro_batch": 16}, step(64, 1.0))).groups == 2
    assert recorded_tests(()) == "no step has been recorded"
