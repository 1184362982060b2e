"""Plans: steps of each schedule, the paper's presets, thousands of ranks, the command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch.distributed as dist
from hypothesis import event, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from adabatch.planning import plan
from adabatch.planning.plan import course_of, make_plan
from adabatch.planning.report import overview_table, schedules_table
from adabatch.planning.simulated import SimulatedStep, fake_world
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import load_settings
from adabatch.training import checks
from adabatch.training.building import build_micro_batching, build_schedule
from adabatch.training.checks import check_start, prepare_for_run


def planned_steps(preset="demo", **changes):
    settings = load_settings(preset, overrides=changes)
    schedule = build_schedule(settings)
    micro_batching = build_micro_batching(settings.schedule, schedule.batch_size, settings.parallel.ranks)
    course = course_of(schedule, micro_batching, settings.run.samples)
    return course.first.batch_size, course.largest.batch_size, course.steps


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant", "initial_batch": 8}, (8, 8, (12, 12))),
        ({"schedule": "constant", "initial_batch": 8, "samples": 10**12}, (8, 8, (10**12 // 8,) * 2)),
        (
            {"schedule": "stagewise", "stage_batches": (8, 16), "stage_fractions": (0.5, 0.5)},
            (8, 16, (9, 9)),
        ),
        ({"initial_batch": 8, "max_batch": 16}, (8, 16, (7, 12))),
        ({"schedule": "seesaw", "lr_path": "cosine", "initial_batch": 8, "max_batch": 16}, (8, 16, (10, 10))),
    ],
)
def test_steps_of_a_schedule(changes, expected):
    assert planned_steps(**{"samples": 96, "warmup_samples": 16} | changes) == expected


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        # as the paper's tables 1 to 3 print them
        ({"schedule": "constant", "initial_batch": 2048}, 977),
        ({"schedule": "constant", "initial_batch": 4096}, 489),
        ({"schedule": "constant", "initial_batch": 8192}, 245),
        ({"schedule": "stagewise"}, 269),
    ],
)
@pytest.mark.parametrize("preset", ["paper-microllama", "paper-tinyllama", "paper-openllama"])
def test_the_papers_baselines_take_its_numbers_of_steps(preset, schedule, steps):
    assert planned_steps(preset, **schedule)[2] == (steps, steps)


@pytest.mark.parametrize(
    ("preset", "model", "parallel", "length", "batch"),
    [
        ("paper-microllama", "microllama-300m", "ddp", 2048, 256),
        ("paper-tinyllama", "tinyllama-1.1b", "fsdp", 2048, 128),
        ("paper-openllama", "openllama-3b", "fsdp", 512, 128),
    ],
)
def test_the_papers_settings(preset, model, parallel, length, batch):
    settings = load_settings(preset)
    assert (settings.model.model, settings.parallel.parallel, settings.parallel.ranks) == (model, parallel, 4)
    assert (settings.data.data, settings.data.data_config, settings.data.streaming) == ("allenai/c4", "en", True)
    assert (settings.data.sequence_length, settings.parallel.precision) == (length, "bf16")
    schedule, optimizer, run = settings.schedule, settings.optimizer, settings.run
    assert (schedule.schedule, schedule.estimator, schedule.test) == ("norm-test", "paper", "scalar")
    assert (schedule.initial_batch, schedule.max_batch, schedule.test_interval) == (batch, 8192, 1)
    assert (schedule.micro_batch, schedule.max_micro_batch, schedule.max_growth) == (4, 8, 0)
    assert (schedule.stage_batches, schedule.stage_fractions) == ((2048, 4096, 8192), (0.025, 0.025, 0.95))
    assert (optimizer.lr, optimizer.min_lr, optimizer.warmup_samples) == (4e-4, 4e-5, 20_000)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.95, 1e-8)
    assert (optimizer.weight_decay, optimizer.clip, optimizer.lr_scaling) == (0.1, 1.0, "none")
    assert run.samples == 2_000_000


def test_every_setting_of_a_preset_can_be_overridden():
    settings = load_settings("paper-tinyllama", overrides={"schedule": "constant", "eta": 0.1, "data": "stdlib"})
    assert (settings.schedule.schedule, settings.schedule.eta, settings.data.data) == ("constant", 0.1, "stdlib")
    assert settings.run.samples == 2_000_000


def test_thousands_of_ranks():
    settings = load_settings(
        "demo", overrides={"parallel": "fsdp", "max_micro_batch": 2, "initial_batch": 4096, "max_batch": 8192}
    )
    few, many = make_plan(settings, 4), make_plan(settings, 4096)
    assert many.settings.parallel.ranks == 4096
    assert (few.course.first, many.course.first) == (MicroBatchPlan(4, 1024, 1), MicroBatchPlan(4096, 1, 1))
    assert many.memory["weights"] < few.memory["weights"] / 40
    matrices = 4 * many.parameters
    scattered = [plan.traffic(plan.course.first)["reduce-scatter"].payload for plan in (few, many)]
    assert scattered[1] > matrices  # padded: 4096 ranks share 128 columns unevenly
    assert scattered[0] == pytest.approx(matrices, rel=0.01)


def test_ranks_that_follow_the_batch_take_fewer_rank_hours():
    batches = {
        "schedule": "linear-ramp",
        "initial_batch": 8,
        "max_batch": 64,
        "ramp_samples": 1024,
        "samples": 2048,
    }
    settings = load_settings("demo", overrides=batches | {"model": "nano", "parallel": "fsdp", "ranks_at": "32:2"})
    plan = make_plan(settings)
    assert (plan.settings.parallel.ranks, plan.course.first.world_size, list(plan.on_fewer)) == (2, 2, [1])
    small = {8: 10}
    one = plan.on_fewer[1].seconds(MicroBatchPlan(1, 8, 1)).all
    assert plan.seconds_following(small) == (pytest.approx(10 * one), pytest.approx(10 * one))
    large = {64: 10}
    assert plan.seconds_following(large) == (plan.seconds_of(large), 2 * plan.seconds_of(large))
    assert plan.seconds_following(plan.course.most)[1] < 2 * plan.seconds_of(plan.course.most)
    rows = [list(column.cells) for column in schedules_table(plan).columns]
    assert [name for name in rows[0] if "ranks" in name] == ["the same on 1, 2 ranks"]


def test_a_run_that_is_to_stop_early_is_planned_until_then():
    settings = {"schedule": "linear-ramp", "initial_batch": 8, "max_batch": 64, "ramp_samples": 1024}
    whole, early = (
        make_plan(load_settings("demo", overrides=settings | {"samples": 2048, "stop_at": stop, "model": "nano"}))
        for stop in (0, 512)
    )
    assert early.tokens == 512 * whole.settings.data.sequence_length == whole.tokens / 4
    assert early.course.first == whole.course.first
    assert early.course.largest.batch_size < whole.course.largest.batch_size == 64
    assert sum(batch * steps for batch, steps in early.course.most.items()) in range(512, 512 + 64)
    assert "512 of 2,048 (--stop-at)" in list(overview_table(early).columns[1].cells)


def test_nothing_is_communicated_by_one_process():
    plan = make_plan(load_settings("demo"))
    assert plan.traffic(plan.course.first) == {}


def test_the_process_group_is_gone_afterwards():
    with fake_world(8):
        assert dist.get_world_size() == 8
    assert not dist.is_initialized()


def test_the_command_prints_a_plan_and_writes_nothing(adabatch, tmp_path):
    options = "--preset demo --parallel fsdp --initial-batch 16 --max-micro-batch 2 --plan-ranks 16"
    options += f" --output {tmp_path / 'run'}"
    printed = adabatch.output("train", *options.split())
    for text in ("[schedule]", "eta = 1.0", "469,632", "1,572,864", "as the gradients decide", "optimizer (two"):
        assert text in printed
    for text in ("all-gather", "reduce-scatter", "all-reduce", "16 ranks x"):
        assert text in printed
    assert not (tmp_path / "run").exists()


def test_a_plan_says_what_moves(adabatch):
    options = "--preset demo --samples 1000 --sequence-length 128 --length-stages 64:0.3,128:1 --lr-path wsd"
    options += " --warmup-samples 100 --beta2-half-life 2e4 --weight-decay-scaling linear --dry-run"
    printed = adabatch.output("train", *options.split())
    for text in (
        "108,800",  # 300 x 64 + 700 x 128 tokens
        "64 until 300 samples, then 128",
        "wsd from 0.003 to 0 after a warm-up of 100 samples",
        "beta2 (half-life of 20,000 samples), weight decay (linear)",
    ):
        assert text in printed
    options = "--preset demo --schedule exchange --lr-path linear --min-lr 0 --dry-run"
    printed = adabatch.output("train", *options.split())
    assert "learning rate (sqrt)" in printed  # exchange's own


def test_what_cannot_be_planned_is_said(adabatch):
    message = "--parallel single runs 1 rank, but 4 were asked for"
    adabatch.refuses(message, "train", "--preset", "demo", "--plan-ranks", "4")


def refusal(check):
    """The message with which a check refuses; None if it does not."""
    try:
        check()
    except ValueError as refused:
        return str(refused)
    return None


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A small text, and the folder in which it is prepared."""
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text("what is read here does not matter\n" * 200)
    small = load_settings(overrides={"data": str(path), "sequence_length": 32})
    return str(path), prepare_for_run(small)[0]


SIZES = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16, 64])
CHANGES = {
    "parallel": st.sampled_from(["single", "ddp", "fsdp", "hsdp"]),
    "tensor_parallel": st.sampled_from([1, 1, 1, 2, 3]),
    "sequence_parallel": st.booleans(),
    "replicas": SIZES,
    "timeout": st.sampled_from([600.0, 1e-3]),
    "threads": st.sampled_from([0, 1024]),
    "schedule": st.sampled_from(["norm-test", "norm-test", "constant", "stagewise", "linear-ramp", "seesaw"]),
    "test": st.sampled_from(["scalar", "l1", "coordinate"]),
    "estimator": st.sampled_from(["unbiased", "debiased", "paper"]),
    "eta": st.sampled_from([1e-6, 0.2, 0.8, 1.0, 2.0]),
    "max_growth": st.sampled_from([0.0, 1.5, 8.0]),
    "initial_batch": SIZES,
    "max_batch": SIZES,
    "micro_batch": SIZES,
    "max_micro_batch": SIZES,
    "lr_scaling": st.sampled_from(["none", "sqrt", "linear"]),
    "warmup_samples": st.sampled_from([0, 32, 64, 10_000]),
    "samples": st.sampled_from([1, 64, 512]),
    "model": st.sampled_from(["tiny", "tiny", "demo", "nothing"]),
    "sequence_length": st.sampled_from([32, 32, 32, 100_000]),
}


@settings_of_hypothesis(max_examples=200)
@given(
    changes=st.dictionaries(st.sampled_from(sorted(CHANGES)), st.none(), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({name: CHANGES[name] for name in chosen})
    ),
    ranks=st.sampled_from([1, 2, 4, 1, 2, 4, 3, 6, 8]),
    resumed=st.booleans(),
)
def test_a_plan_refuses_what_a_start_on_that_many_ranks_refuses(text, changes, ranks, resumed):
    """With the same message; the start's devices are there, and its steps are not simulated."""
    settings = load_settings(overrides={"data": text[0], "sequence_length": 32, "parallel": "fsdp"} | changes)
    started = replace(settings, parallel=replace(settings.parallel, ranks=ranks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "choose_device", lambda parallel, rank: None)
        patch.setattr(checks, "find_checkpoint", lambda *_: Path("a checkpoint") if resumed else None)
        patch.setattr(plan, "simulate_layers", lambda *_: [SimulatedStep({}, {}, {})] * 2)
        expected = refusal(lambda: check_start(started, text[1], resumed=checks.resumes(started)))
        assert refusal(lambda: make_plan(settings, ranks)) == expected
        event(f"refused: {expected is not None}")


def test_what_a_start_refuses_a_plan_refuses_by_name(adabatch):
    """Three members of what a plan once let pass: it rounded the first batch up, and tested nothing of it."""
    plan_of = ["train", "--preset", "demo", "--parallel", "fsdp", "--plan-ranks", 1024]
    adabatch.refuses("an initial batch of 4 cannot be made from 1024 ranks x micro-batches of 1", *plan_of)
    one = ["train", "--preset", "demo", "--plan-ranks", 1, "--initial-batch", 4]
    adabatch.refuses("the norm test needs at least 2 groups", *one, "--micro-batch", 4)
    adabatch.refuses(
        "the published test (--estimator paper) at eta 3 asks for less", *one, "--estimator", "paper", "--eta", 3
    )


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(adabatch, tmp_path):
    config = {"model_type": "llama", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 32}
    config |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = f"but the model {tmp_path / 'config.json'} has 100: raise vocab_size there"
    adabatch.refuses(message, "train", "--preset", "demo", "--dry-run", "--model", tmp_path / "config.json")


def test_a_run_that_resumes_may_be_planned_for_ranks_that_could_not_begin_it(monkeypatch):
    monkeypatch.setattr(checks, "find_checkpoint", lambda *_: Path("a checkpoint"))
    monkeypatch.setattr(plan, "simulate_layers", lambda *_: [SimulatedStep({}, {}, {})] * 2)
    settings = load_settings("demo", overrides={"parallel": "fsdp", "initial_batch": 4})
    assert make_plan(settings, 3).course.first == MicroBatchPlan(3, 2, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # at most a hundredth of the samples, and down to 4 = 1 rank x 4 x 1
        ({"schedule": "goodput", "samples": 10_000}, (8, 100, (1 + 100, 1 + 2498))),
        ({"schedule": "exchange", "noise_limit": 1.0}, (8, 200, (1 + 5, 125))),
        ({"schedule": "linear-ramp", "batch_floor": "norm-test"}, (8, 200, (1 + 5, 125))),
    ],
)
def test_rules_that_look_at_gradients_have_a_range_of_steps(changes, expected):
    usual = {"samples": 1000, "initial_batch": 8, "micro_batch": 2, "max_micro_batch": 64, "max_batch": 200}
    assert planned_steps(**usual | {"warmup_samples": 0} | changes) == expected
