"""Heat maps of layers: what is drawn is what the records say."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from adabatch.reporting.figures import save_figures
from adabatch.reporting.part_figures import plot_parts

PARTS = ("head", "1.mlp", "0.mlp", "10.attention", "2.attention", "embedding", "scale")
ORDER = ["embedding", "2.attention", "10.attention", "0.mlp", "1.mlp", "head", "scale"]


def records(steps=3):
    """The second step is not measured."""
    return [
        {
            "step": step + 1,
            "samples": 4 * (step + 1),
            "batch_size": 4,
            "loss": 1.0,
            "parts": {name: [10.0**step + place, 2.0] for place, name in enumerate(PARTS)} if step != 1 else None,
        }
        for step in range(steps)
    ]


@pytest.mark.parametrize(("value", "scale"), [("trace", 1.0), ("noise scale", 2.0)])
def test_rows_are_parts_by_kind_and_layer_and_columns_are_samples(value, scale):
    axes = plot_parts(records(), Figure().subplots(), value)
    (mesh,) = axes.collections
    assert [label.get_text() for label in axes.get_yticklabels()] == ORDER
    drawn = np.asarray(mesh.get_array()).reshape(len(PARTS), 2)
    expected = [[(1 + PARTS.index(name)) / scale, (100 + PARTS.index(name)) / scale] for name in ORDER]
    np.testing.assert_allclose(drawn, expected)
    assert mesh.get_coordinates()[0, :, 0].tolist() == [0, 4, 12]


def test_values_that_have_no_logarithm_stay_blank():
    empty = records()
    for record in empty:
        if record["parts"]:
            record["parts"] = {name: [0.0, 0.0] for name in PARTS}
    (mesh,) = plot_parts(empty, Figure().subplots(), "noise scale").collections
    assert np.ma.getmaskarray(mesh.get_array()).all()


def test_it_is_saved_with_the_run_where_it_was_measured(tmp_path):
    assert tmp_path / "layers.png" in save_figures(records(), tmp_path)
    without = [record | {"parts": None} for record in records()]
    assert not any("layers" in path.name for path in save_figures(without, tmp_path))
