"""The training loop in one process: schedules, resume, skipped steps, monitoring."""

import itertools
import math
import threading

import pytest
import torch

import adabatch.training.loop
from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import TIMED, MetricsWriter
from adabatch.schedules.learning_rate import LearningRate
from adabatch.settings import load_settings
from adabatch.training.checkpointing import save_run
from adabatch.training.checks import check_settings
from adabatch.training.divergence import TrainingDivergedError
from adabatch.training.loop import train
from adabatch.training.opening import open_run


def settings(folder, **changes):
    small = {
        "samples": 96,
        "initial_batch": 8,
        "micro_batch": 2,
        "max_micro_batch": 8,
        "max_batch": 24,
        "warmup_samples": 16,
        "validation_interval": 48,
        "validation_samples": 5,
        "sequence_length": 32,
        "output": str(folder),
    }
    return load_settings("demo", overrides=small | changes)


def open_single(folder, **changes):
    return open_run(settings(folder, **changes), DistributedContext())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The records of the run that the settings above make."""
    return list(train(open_single(tmp_path_factory.mktemp("plain"))))


NAMES = {
    *("step", "samples", "tokens", "loss", "lr", "batch_size", "micro_batch", "accumulation", "grad_norm"),
    *("noise_trace", "grad_sq_norm", "test_statistic", "seconds", "tokens_per_second", "flops", "mfu"),
}


def test_records_have_the_names_that_scripts_rely_on(tmp_path):
    records = list(train(open_single(tmp_path, estimator="unbiased", eta=0.8, ema=0.0)))
    assert all(set(record) >= NAMES for record in records)
    assert [r["step"] for r in records] == list(range(1, len(records) + 1))
    assert records[-1]["samples"] == sum(r["batch_size"] for r in records) >= 96
    assert all(r["tokens"] == 32 * r["samples"] for r in records)
    assert all(r["batch_size"] == r["micro_batch"] * r["accumulation"] for r in records)
    assert all(r["mfu"] is None for r in records)
    assert len({r["flops"] / r["batch_size"] for r in records}) == 1
    validated = [r["samples"] for r in records if "val_loss" in r]
    assert len(validated) == 2
    assert validated[-1] == records[-1]["samples"]
    tested = [r for r in records if r["test_statistic"] is not None]
    for record in tested:
        expected = record["noise_trace"] / (0.8**2 * record["grad_sq_norm"])
        assert record["test_statistic"] == pytest.approx(expected)
        assert record["grad_norm"] ** 2 == pytest.approx(record["grad_sq_norm"])


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({"schedule": "constant"}, [8] * 12),
        (
            {"schedule": "stagewise", "stage_batches": (8, 16), "stage_fractions": (0.5, 0.5)},
            [8] * 6 + [16] * 3,
        ),
        ({"schedule": "linear-ramp", "ramp_samples": 64, "max_batch": 24}, [8, 12, 16, 20, 24, 24]),
    ],
)
def test_fixed_schedules(tmp_path, changes, sizes):
    records = list(train(open_single(tmp_path, **changes)))
    assert [r["batch_size"] for r in records] == sizes
    assert all(r["test_statistic"] is None for r in records)


@pytest.mark.parametrize(
    ("scaling", "reference", "factors"), [("sqrt", 0, (1, 3**0.5)), ("linear", 16, (0.5, 1.5))]
)
def test_scaling_multiplies_the_rate_as_the_batch_grows(tmp_path, scaling, reference, factors):
    stages = {"schedule": "stagewise", "stage_batches": (8, 24), "stage_fractions": (0.5, 0.5)}
    plain = list(train(open_single(tmp_path, **stages)))
    changes = {"lr_scaling": scaling, "lr_reference_batch": reference}
    scaled = list(train(open_single(tmp_path, **changes, **stages)))
    assert {r["batch_size"] for r in plain} == {8, 24}
    for a, b in zip(plain, scaled, strict=True):
        assert b["lr"] == pytest.approx(a["lr"] * factors[a["batch_size"] == 24])


def test_seesaw_trains_with_its_own_rate_and_resumes(tmp_path):
    changes = {"schedule": "seesaw", "lr_path": "cosine", "max_batch": 16, "min_lr": 1e-4} | {
        "checkpoint_interval": 32
    }
    whole = list(train(open_single(tmp_path / "whole", **changes)))
    sizes = [r["batch_size"] for r in whole]
    assert sizes == sorted(sizes)
    assert set(sizes) == {8, 16}
    changed = sizes.index(16)
    stairs = LearningRate(3e-3, 1e-4, 16, 96).in_stairs(2.0)
    for record in whole:
        mean = stairs.mean(record["samples"] - record["batch_size"], record["samples"])
        assert record["lr"] == pytest.approx(mean * math.sqrt(record["batch_size"] / 8))
    begun = list(itertools.islice(train(open_single(tmp_path / "cut", **changes)), changed + 1))
    resumed = open_single(tmp_path / "cut", resume="auto", **changes)
    assert 0 < resumed.schedule.steps <= changed
    rest = begun[: resumed.schedule.steps] + list(train(resumed))
    assert [(r["lr"], r["loss"]) for r in rest] == [(r["lr"], r["loss"]) for r in whole]


def test_replay_takes_the_batches_of_another_run_on_other_data(tmp_path):
    recorded = list(train(open_single(tmp_path / "first", eta=0.3)))
    with MetricsWriter(tmp_path / "first") as metrics:
        for record in recorded:
            metrics.write(record)
    changes = {"schedule": "replay", "replay_run": str(tmp_path / "first"), "seed": 7}
    replayed = list(train(open_single(tmp_path / "second", **changes)))
    assert len({r["batch_size"] for r in recorded}) > 1
    assert [r["batch_size"] for r in replayed] == [r["batch_size"] for r in recorded]
    assert replayed[0]["loss"] != recorded[0]["loss"]
    assert all(r["test_statistic"] is None for r in replayed)


def test_a_growth_limit_is_recorded(tmp_path):
    records = list(train(open_single(tmp_path, eta=0.05, max_growth=1.5, max_batch=64)))
    assert [r["batch_size"] for r in records][:3] == [8, 12, 20]  # 1.5 x 12 in four micro-batches is 20
    assert [r["batch_limited"] for r in records][:2] == [True, True]
    assert records[0]["test_statistic"] > 12


def test_divergence_stops_the_run_after_the_last_record(tmp_path):
    run = open_single(tmp_path, lr=1e30, min_lr=0.0, warmup_samples=0, max_skipped=3)
    steps = train(run)
    assert math.isfinite(next(steps)["loss"])
    with pytest.warns(UserWarning, match="skipped"):
        records = list(itertools.islice(steps, 4))
    assert [r["skipped"] for r in records] == [1, 2, 3, 4]
    with pytest.raises(TrainingDivergedError, match="4 steps in a row, up to step 5; there is no checkpoint"):
        next(steps)


def test_monitoring_measures_without_testing(tmp_path):
    records = list(train(open_single(tmp_path, schedule="constant", monitor_interval=3)))
    assert [r["step"] for r in records if r["noise_trace"] is not None] == [3, 6, 9, 12]


def test_the_batch_sees_each_sample_once_whatever_the_schedule(tmp_path, monkeypatch):
    seen = {}
    for schedule in ("constant", "linear-ramp"):
        run = open_single(tmp_path, schedule=schedule, validation_interval=0)
        seen[schedule] = []
        take = run.corpus.train.take

        def recording(positions, take=take, into=seen[schedule]):
            into.extend(positions)
            return take(positions)

        monkeypatch.setattr(run.corpus.train, "take", recording)
        list(train(run))
    for positions in seen.values():
        assert sorted(positions) == list(range(len(positions)))


@pytest.mark.parametrize("test", ["scalar", "l1"])
def test_gradients_that_are_not_finite_skip_the_step_and_the_test(tmp_path, monkeypatch, test):
    run = open_single(tmp_path, test=test)
    loss_of, calls = adabatch.training.loop.language_model_loss, itertools.count()

    def broken(model, tokens):
        loss = loss_of(model, tokens)
        return loss * math.nan if next(calls) == 5 else loss  # the second micro-batch of the second step

    monkeypatch.setattr(adabatch.training.loop, "language_model_loss", broken)
    steps = train(run)
    next(steps)
    before = [p.detach().clone() for p in run.model.parameters()]
    batch = run.schedule.batch_size
    with pytest.warns(UserWarning, match="step 2 skipped: loss nan"):
        record = next(steps)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    assert run.schedule.batch_size == batch
    assert record["skipped"] == 1
    assert math.isnan(record["loss"])
    assert record["test_statistic"] is None
    assert all(math.isfinite(r["loss"]) and r["skipped"] == 1 for r in steps)


@pytest.mark.parametrize(
    "changes",
    [{"test": "l1", "eta": 0.5, "ema": 0.0, "l1_denominator": kind} for kind in ("plug-in", "conservative")],
)
def test_the_l1_test_grows_the_batch_and_logs_what_it_compares(tmp_path, changes):
    records = list(train(open_single(tmp_path, **changes)))
    tested = [r for r in records if r["test_statistic"] is not None]
    name = "grad_l1_norm_conservative" if changes["l1_denominator"] == "conservative" else "grad_l1_norm"
    for record in tested:
        if record[name] > 0:
            expected = record["sum_of_deviations"] ** 2 / (0.5 * record[name]) ** 2
            assert record["test_statistic"] == pytest.approx(expected)
        else:
            assert math.isnan(record["test_statistic"])
        assert record["noise_dimension"] == pytest.approx(record["sum_of_deviations"] ** 2 / record["noise_trace"])
        assert 0 <= record["coordinate_share"] <= 1
        assert record["gradient_dimension"] >= 1
    assert records[-1]["batch_size"] == 24


def test_the_coordinate_wise_test_asks_for_more_when_more_must_meet_it(tmp_path):
    def first_statistic(quantile):
        run = open_single(tmp_path, test="coordinate", coordinate_quantile=quantile, max_batch=10_000)
        return next(iter(train(run)))["test_statistic"]

    assert 0 < first_statistic(0.1) < first_statistic(0.5) < first_statistic(0.9)


def test_monitoring_the_coordinates_leaves_the_scalar_test_alone(tmp_path, plain):
    monitored = list(train(open_single(tmp_path, monitor_coordinates=True)))
    for a, b in zip(plain, monitored, strict=True):
        assert all(a[name] == b[name] for name in NAMES - TIMED)
    assert any("noise_dimension" in record for record in monitored)


def test_monitoring_the_layers_adds_up_and_leaves_the_run_alone(tmp_path, plain):
    monitored = list(train(open_single(tmp_path, monitor_layers=True)))
    for a, b in zip(plain, monitored, strict=True):
        assert all(a[name] == pytest.approx(b[name], rel=1e-12) for name in NAMES - TIMED)
    measured = [record for record in monitored if "parts" in record]
    assert measured
    for record in measured:
        assert {"embedding", "0.attention", "0.mlp", "0.norm", "norm", "head"} <= set(record["parts"])
        traces, norms = zip(*record["parts"].values(), strict=True)
        assert sum(traces) == pytest.approx(record["noise_trace"], rel=1e-5)
        assert sum(norms) == pytest.approx(record["grad_sq_norm"], rel=1e-5)


def test_bf16_trains_and_no_validation_is_possible(tmp_path):
    records = list(train(open_single(tmp_path, precision="bf16", validation_fraction=0.0)))
    assert records[-1]["loss"] < records[0]["loss"]
    assert records[-1]["val_loss"] is None


@pytest.mark.parametrize(
    ("world_size", "changes", "message"),
    [
        (0, {}, "at least 1 rank"),
        (2, {}, "--parallel single runs 1 rank"),
        (3, {"parallel": "fsdp"}, "cannot be made from 3 ranks"),
        (3, {"parallel": "hsdp"}, "3 ranks cannot make 2 replicas of equal size"),
        (4, {"parallel": "fsdp", "tensor_parallel": 3}, "cannot make teams of 3 tensor-parallel ranks"),
        (4, {"parallel": "ddp", "tensor_parallel": 2}, "goes with --parallel fsdp"),
        (2, {"parallel": "fsdp", "tensor_parallel": 2, "micro_batch": 8}, "at least 2 groups"),
        (2, {"parallel": "fsdp", "sequence_parallel": True}, "add --tensor-parallel 2"),
        (1, {"test": "coordinate", "coordinate_quantile": 1.0}, "--coordinate-quantile"),
        (1, {"initial_batch": 2}, "at least 2 groups"),
        (1, {"samples": 0}, "--samples"),
        (1, {"validation_interval": -1}, "--validation-interval must be from 0 to"),
        (1, {"validation_samples": 0}, "--validation-samples is 0"),
        (1, {"warmup_samples": 200}, "does not fit into a budget"),
        (1, {"threads": -1}, "--threads"),
        (1, {"max_batch": 4}, "raise --max-batch"),
        (1, {"max_skipped": -1}, "--max-skipped"),
        (1, {"max_growth": 0.5}, "--max-growth"),
        (1, {"estimator": "unbiased"}, "unbiased test at eta 1 passes at any batch"),
        (1, {"eta": 1e-200}, "take --eta between"),
        (1, {"estimator": "paper", "eta": 2.0}, "published test .* at eta 2 asks for less than"),
        (1, {"test_interval": 1000}, "lower --test-interval or raise --samples"),
        (1, {"schedule": "seesaw", "seesaw_factor": 1000.0}, "Seesaw never grows the batch"),
        (1, {"lr_reference_batch": -1}, "--lr-reference-batch"),
        (1, {"schedule": "seesaw", "lr_scaling": "linear"}, "leave out --lr-scaling"),
        (1, {"schedule": "seesaw", "seesaw_factor": 1.0}, "--seesaw-factor must be from 1.01 to"),
        (1, {"schedule": "replay"}, "--replay-run"),
        (1, {"schedule": "replay", "replay_run": "nowhere"}, "no metrics at nowhere"),
    ],
)
def test_what_is_refused_before_anything_starts(tmp_path, world_size, changes, message):
    with pytest.raises(ValueError, match=message):
        check_settings(settings(tmp_path, **changes), world_size)


def test_utilisation_is_that_of_the_peak_that_is_given(tmp_path):
    run = open_single(tmp_path, peak_tflops=0.5)
    record = next(train(run))
    assert record["mfu"] == pytest.approx(record["flops"] / record["seconds"] / 0.5e12)
    assert open_single(tmp_path, gpu="h100").throughput.peak is None  # this is a CPU


@pytest.mark.parametrize(("optimizer", "in_background"), [("adamw", True), ("sgd", False)])
def test_saving_before_the_first_optimizer_step_changes_nothing(tmp_path, monkeypatch, optimizer, in_background):
    """Two steps are skipped; what saves after each of them takes the same steps later, and resumes alike."""
    loss_of, changes = adabatch.training.loop.language_model_loss, {"optimizer": optimizer, "lr": 0.01}

    def losses(folder, **more):
        calls = itertools.count()

        def broken(model, tokens):
            loss = loss_of(model, tokens)
            return loss * math.nan if next(calls) < 8 else loss

        monkeypatch.setattr(adabatch.training.loop, "language_model_loss", broken)
        with pytest.warns(UserWarning, match="skipped"):
            records = list(itertools.islice(train(open_single(tmp_path / folder, **changes, **more)), 5))
        return [record["loss"] for record in records]

    whole = losses("whole")
    saved = losses("saved", checkpoint_interval=8, keep=0, async_checkpoints=in_background)
    assert [math.isfinite(loss) for loss in whole] == [False, False, True, True, True]
    assert whole[2:] == saved[2:]
    monkeypatch.setattr(adabatch.training.loop, "language_model_loss", loss_of)
    path = str(tmp_path / "saved" / "checkpoints" / "step-00000002")
    resumed = open_single(tmp_path / "saved", resume=path, **changes)
    assert [record["loss"] for record in itertools.islice(train(resumed), 3)] == whole[2:]


def test_a_save_in_flight_is_finished_before_divergence_is_reported(tmp_path, monkeypatch):
    """Steps 1 and 2 are good, and what is saved after the first is written when the run is about to end."""
    run = open_single(tmp_path, schedule="constant", max_skipped=1, async_checkpoints=True)
    loss_of, calls = adabatch.training.loop.language_model_loss, itertools.count()
    write, wait, ending = run.saver._write, run.saver.wait, threading.Event()

    def broken(model, tokens):
        loss = loss_of(model, tokens)
        return loss * math.nan if next(calls) >= 8 else loss

    def late(*arguments):
        ending.wait(60)
        write(*arguments)

    def end():
        ending.set()
        wait()

    monkeypatch.setattr(adabatch.training.loop, "language_model_loss", broken)
    monkeypatch.setattr(run.saver, "_write", late)
    steps = train(run)
    next(steps)
    save_run(run)
    monkeypatch.setattr(run.saver, "wait", end)
    with pytest.warns(UserWarning, match="skipped"):
        list(itertools.islice(steps, 3))
    with pytest.raises(TrainingDivergedError, match=r"the last good checkpoint is .*step-00000001"):
        next(steps)


def test_a_steps_memory_is_that_of_the_step_alone(tmp_path, monkeypatch):
    """Not that of a validation, with its larger micro-batches, nor that of trying a larger micro-batch."""
    run, calls = open_single(tmp_path, validation_interval=8), []

    def noting(owner, name):
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: (calls.append(name), function(*given))[1])

    for owner, name in (
        (run.memory, "begin_step"),
        (run.memory, "end_step"),
        (adabatch.training.loop, "plan_micro_batches"),
        (adabatch.training.loop, "validate"),
    ):
        noting(owner, name)
    list(itertools.islice(train(run), 2))
    assert calls == ["plan_micro_batches", "begin_step", "end_step", "validate"] * 2
