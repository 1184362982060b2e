"""The benchmark of the statistics runs at its smallest size; its reference computes what the paper prints."""

from __future__ import annotations

import pickle
from dataclasses import asdict

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics import GradientStatistics
from tests.support.repository import script
from tests.support.spawning import run_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


def both(rank: int, world_size: int, mode: str) -> tuple[float, float]:
    """The paper's variance over workers, and ours of the same groups."""
    PaperStatistics = script("benchmarks/paper_statistics.py").PaperStatistics
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    if mode == "ddp":
        model = DistributedDataParallel(model)
    else:
        fully_shard(model, mesh=init_device_mesh("cpu", (world_size,)))
    results = []
    for make in (PaperStatistics, GradientStatistics):
        statistics = make(model)
        statistics.enable()
        data = torch.randn(8, 5, generator=torch.Generator().manual_seed(rank))
        model(data).square().mean().backward()
        statistics.end_microbatch(8)
        moments = statistics.finish()
        results.append(moments if isinstance(moments, float) else moments.paper_variance)
        statistics.enable(False)
        model.zero_grad()
        dist.barrier()
    return tuple(results)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_the_papers_way_gives_the_paper_variance_of_one_group_a_worker(mode):
    for paper, ours in run_ranks(both, 2, mode):
        assert paper == pytest.approx(ours, rel=1e-5)


def rank_of_benchmark(rank: int, world_size: int, setting: dict):
    benchmark = script("benchmarks/statistics_cost.py")
    return pickle.dumps(benchmark.measure(benchmark.Setting(**setting), rank))


def on_ranks(setting):
    """The benchmark's own function on the tests' ranks, which need not start first."""
    return [pickle.loads(found) for found in run_ranks(rank_of_benchmark, 2, asdict(setting))]


def test_it_runs_and_prints_every_kind(tmp_path, monkeypatch):  # in a single process: tests/gpu/test_cost.py
    benchmark, output = script("benchmarks/statistics_cost.py"), tmp_path / "table.txt"
    monkeypatch.setattr(benchmark, "on_ranks", on_ranks)
    options = ["--size", "tiny", "--rounds", "1", "--parallel", "ddp", "--length", "8"]
    benchmark.main([*options, "--output", str(output)])
    lines = output.read_text().splitlines()
    kinds = ["read", "scalar", "layers", "coordinate", "all-coordinates", "paper", "per-sample"]
    rows = [line.split() for line in lines[3:] if not line.startswith("#")]
    assert [row[2] for row in rows] == 2 * ["plain", *kinds]
    measured = [row for row in rows if row[2] != "plain"]
    added = {row[2]: float(row[-3]) for row in measured}
    own = {row[2]: float(row[5]) for row in measured if row[2] != "per-sample"}
    assert all(milliseconds > 0 for milliseconds in own.values())
    assert 0 < added["scalar"] < 1e-2  # megabytes sent: sums, and some kilobytes that show mistakes
    assert added["paper"] > 50 * added["scalar"]


def test_the_precision_of_sampling_is_measured(capsys):
    script("benchmarks/coordinate_sampling.py").main(["--steps", "1", "--hidden-size", "256"])
    printed = capsys.readouterr().out.splitlines()
    rows = {int(line.split()[0]): list(map(float, line.split()[1:])) for line in printed[4:-1]}
    assert list(rows) == [4, 16, 64, 256]
    assert 0 < max(rows[4][:3]) < max(rows[256][:3])  # sums and their ratio, in percent
    assert max(rows[16][:3]) < 5
