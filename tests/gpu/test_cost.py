"""What the statistics cost on this device: prints the table of benchmarks/statistics_cost.py."""

from __future__ import annotations

from tests.support.repository import script

OPTIONS = {
    "cpu": ["--parallel", "single", "--size", "tiny", "--length", "8", "--rounds", "1"],
    "cuda": ["--device", "cuda", "--size", "20m", "--length", "512", "--rounds", "5"],
}
ADDED_MEMORY = {"cpu": -1, "cuda": -3}
"""Its column; kernel launches follow on a GPU."""


def test_every_kind_is_in_the_table_and_the_scalar_one_takes_little_memory(device, tmp_path, capsys):
    output = tmp_path / "table.txt"
    script("benchmarks/statistics_cost.py").main([*OPTIONS[device.type], "--output", str(output)])
    table = output.read_text()
    if device.type == "cuda":
        with capsys.disabled():
            print(f"\n{table}")
    rows = {line.split()[2]: line.split() for line in table.splitlines()[3:] if not line.startswith("#")}
    statistics = ["scalar", "layers", "coordinate", "all-coordinates", "paper", "per-sample"]
    assert list(rows) == ["plain", "read", *statistics]
    added = {kind: float(row[ADDED_MEMORY[device.type]]) for kind, row in rows.items() if kind != "plain"}
    assert added["scalar"] < added["paper"]
