"""The table of optima: the nearest tasks, and a file of another form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adabatch.worth.optimum import NEAREST, optimum_nearby


def write(path, tasks):
    path.write_text(json.dumps({"command": "adabatch optimum", "date": "2026-11-29", "tasks": tasks}))
    return path


def test_the_nearest_tasks_of_each_optimizer(tmp_path):
    near = [{"optimizer": "sgd", "rho": 1.0, "s": 0.9, "saving": k / 100} for k in range(NEAREST)]
    far = [{"optimizer": "sgd", "rho": 100.0, "s": 0.9, "saving": 0.9}] * 40
    others = [{"optimizer": "sgd", "rho": 1.0, "s": 0.5, "saving": 0.8}] * 40
    adam = [{"optimizer": "adam-like", "rho": 5.0, "s": 1.0, "saving": -0.01}]
    found = optimum_nearby(1.1, 0.88, write(tmp_path / "o.json", [*far, *near, *adam, *others]))
    assert [near.optimizer for near in found] == ["adam-like", "sgd"]
    assert (found[0].tasks, found[0].median, found[0].ninety) == (1, -0.01, -0.01)
    assert (found[1].tasks, found[1].median) == (NEAREST, pytest.approx(0.075))
    assert found[1].ninety == pytest.approx(np.quantile(np.arange(NEAREST) / 100, 0.9))


def test_no_table(tmp_path):
    assert optimum_nearby(1.0, 0.9, tmp_path / "none.json") == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"tasks": 3}',
        '{"tasks": [{"optimizer": "sgd", "rho": 1, "s": 0.9}]}',
        '{"tasks": [{"optimizer": "sgd", "rho": 0, "s": 0.9, "saving": 0.1}]}',
        '{"tasks": [{"optimizer": "sgd", "rho": 1, "s": 0.9, "saving": NaN}]}',
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "o.json").write_text(content)
    with pytest.raises(ValueError, match="is not a table of optima: make it again with adabatch optimum"):
        optimum_nearby(1.0, 0.9, tmp_path / "o.json")
