"""What every experiment is asked for, and what is refused of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adabatch.experiments.request import Request
from adabatch.settings import Settings, overlay


def request(quick: bool = False, report: bool = False, cluster: str = "", **settings: object) -> Request:
    return Request(overlay(Settings(), settings), Path("out"), 1, 0, quick, report, "adabatch compare", cluster)


def test_the_smallest_experiment_has_its_own_settings(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert request(seed=3).settings({"samples": 7}) == overlay(Settings(), {"seed": 3})
    assert request(True, seed=3).settings({"samples": 7}) == overlay(Settings(), {"seed": 3, "samples": 7})


def test_a_time_limit_is_refused():
    with pytest.raises(ValueError, match=r"end single runs, not the whole experiment: leave out --time-limit"):
        request(time_limit="3h").settings({})


def test_ranks_that_follow_the_batch_are_refused():
    with pytest.raises(ValueError, match=r"a fixed share of the machine: leave out --ranks-at"):
        request(ranks_at="64:2").settings({})


def test_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"RANK is set, as under torchrun.*without torchrun, or unset RANK"):
        request().settings({})


def test_a_cluster_that_is_not_there_is_refused_unless_only_a_report_is_wanted(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # without srun
    with pytest.raises(ValueError, match="refuses the cluster 'slurm'"):
        request(cluster="slurm").settings({})
    assert request(cluster="slurm", report=True).settings({}) == Settings()


@pytest.mark.parametrize("command", ["compare", "ablate"])
def test_a_cluster_that_is_not_there_is_refused_before_anything_is_written(
    command, adabatch, monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ADABATCH_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    adabatch.refuses("refuses the cluster 'slurm'", command, "--quick", "--cluster", "slurm", "--output", out)
    assert list(tmp_path.iterdir()) == []
