"""The model of a step's time, and layouts that fit, against plans by hand and against exact plans."""

from dataclasses import replace

import pytest

from adabatch.accelerators import ACCELERATORS, accelerator_named
from adabatch.distributed.communication import Collective, Traffic
from adabatch.model.language_model import flops_per_token
from adabatch.planning.layouts import Layout, capacity, estimated_bytes, layouts
from adabatch.planning.plan import make_plan, other_courses
from adabatch.planning.report import require_a_layout
from adabatch.planning.step_time import REACHED, StepWork, seconds_of_traffic, step_seconds
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import load_settings
from adabatch.training.model_size import config_parameters, planned_config

H100 = ACCELERATORS["h100"]


def test_a_step_by_hand():
    traffic = {
        Collective("all-gather", 8, 8): Traffic(0, 0, 50e9),
        Collective("all-reduce", 8, 1): Traffic(0, 0, 450e9),
    }
    work = StepWork(1, 989e12 * 64, 0.0, traffic, tensor_parallel=8, moved=0.0, observed=3350e9)
    step = step_seconds(work, H100, ranks=64, gpus_per_node=8, utilisation=0.5)
    assert (step.compute, step.optimizer) == (2.0, 0.0)
    assert [step.communication, step.tensor_communication, step.test] == pytest.approx([1 / REACHED] * 3)
    assert step.all == pytest.approx(2.0 + 2 / REACHED)


def test_collectives_of_one_rank_take_no_time_and_of_more_take_longer():
    seconds = [seconds_of_traffic({Collective("barrier", n, 1): Traffic(1)}, H100, 8) for n in (1, 2, 1024)]
    assert seconds[0] == 0 < seconds[1] < seconds[2]


@pytest.fixture(scope="module")
def plan():
    """Of a small Llama whose micro-batch grows and which accumulates, under a test that refuses large batches."""
    sizes = {
        "micro_batch": 2,
        "max_micro_batch": 4,
        "initial_batch": 8,
        "max_batch": 64,
        "estimator": "paper",
        "eta": 0.25,
    }
    return make_plan(
        load_settings(
            "demo", overrides=sizes | {"parallel": "fsdp", "ranks": 2, "samples": 1024, "warmup_samples": 0}
        )
    )


def test_time_of_the_plan_is_that_of_its_operations_and_traffic(plan):
    batch = plan.course.largest
    per_token = flops_per_token(plan.config, plan.parameters, 64)
    assert plan.flops(batch.batch_size) == per_token * 64 * 64
    seconds = plan.seconds(batch)
    assert seconds.compute == pytest.approx(per_token * 64 * 64 / (2 * 989e12 * 0.4))
    assert 0 < seconds.test < seconds.all
    assert plan.mfu(batch) == pytest.approx(0.4 * seconds.compute / seconds.all)
    assert plan.seconds_of({8: 1, 64: 2}) == pytest.approx(plan.seconds(plan.course.first).all + 2 * seconds.all)
    assert {name: course.steps for name, course in other_courses(plan).items()} == {
        "constant 8": (128, 128),
        "constant 64": (16, 16),
        "stagewise": other_courses(plan)["stagewise"].steps,
        "linear-ramp": other_courses(plan)["linear-ramp"].steps,
    }


def test_memory_of_other_micro_batches_is_that_of_their_own_plan(plan):
    settings, most = plan.settings, plan.step.largest_micro_batch(20e6)
    assert plan.step.peak(most) <= 20e6 < plan.step.peak(most + 1)
    other = make_plan(replace(settings, schedule=replace(settings.schedule, max_micro_batch=16, max_batch=256)))
    assert other.course.largest == MicroBatchPlan(2, 8, 16)
    assert plan.step.peak(16) == pytest.approx(sum(other.memory.values()), rel=0.01)
    assert other.traffic(plan.course.first) == plan.traffic(plan.course.first)


def test_a_test_adds_no_collective(plan):
    constant = replace(plan.settings, schedule=replace(plan.settings.schedule, schedule="constant"))
    without = make_plan(constant).traffic(plan.course.first)
    calls = {kind: counted.calls for kind, counted in plan.traffic(plan.course.first).items()}
    assert calls == {kind: counted.calls for kind, counted in without.items()}


@pytest.mark.parametrize(("ranks", "least"), [(8, "hsdp"), (4, "ddp")])
def test_layouts_begin_with_the_plainest(ranks, least):
    config = planned_config(load_settings("paper-tinyllama"))
    ways = list(layouts(config, ranks, gpus_per_node=4))
    assert ways[0].parallel == "ddp"
    assert any(way.parallel == "hsdp" for way in ways) == (least == "hsdp")
    assert {way.tensor_parallel for way in ways} == {1, 2, 4}  # 4 key-value heads, and nodes of 4


def test_a_model_that_fits_nowhere_is_refused_with_what_would_do(plan):
    config = planned_config(load_settings("paper-tinyllama"))
    large = replace(plan.step, second=replace(plan.step.second, peaks={"head": {"activations": 10**12}}))
    nowhere = replace(plan, config=config, parameters=config_parameters(config), step=large)
    require_a_layout(nowhere)  # other layouts would do
    nowhere = replace(nowhere, gpu=replace(H100, memory=7.0))
    with pytest.raises(
        ValueError, match=r"2 x H100 \(7 GB\) in no layout: .* take --plan-ranks \d+ or --gpu a100"
    ):
        require_a_layout(nowhere)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        Layout("fsdp", 4),
        Layout("fsdp", 4, activation_checkpointing=True, accumulation_sync=True),
        Layout("fsdp", 2, tensor_parallel=2),
        Layout("ddp", 1),
    ],
)
def test_estimates_are_near_exact_plans(layout):
    changes = {
        "parallel": layout.parallel,
        "tensor_parallel": layout.tensor_parallel,
        "accumulation_sync": layout.accumulation_sync,
        "activation_checkpointing": layout.activation_checkpointing,
        "ranks": 4,
    }
    plan = make_plan(load_settings("paper-tinyllama", overrides=changes))
    length = plan.settings.data.sequence_length
    for size in (1, 8):
        estimate = estimated_bytes(plan.config, plan.parameters, layout, size * length, plan.settings)
        assert estimate == pytest.approx(plan.step.peak(size), rel=0.25)


@pytest.mark.parametrize("name", ["h1000", "", "V100"])
def test_a_gpu_that_is_not_known(name):
    with pytest.raises(ValueError, match=r"take --gpu a100, h100, h200, b200|--gpu is empty"):
        load_settings("demo", overrides={"gpu": name})


def test_given_figures_replace_those_of_the_gpu():
    hardware = load_settings("demo", overrides={"gpu": "A100", "gpu_memory": 40.0}).hardware
    assert hardware.planned() == replace(accelerator_named("a100"), name="A100 with other figures", memory=40.0)
    assert hardware.peak() == 312e12
    assert capacity(40.0) < 40e9
