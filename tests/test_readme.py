"""Every command in the README runs, and every path in it exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

README = (ROOT / "README.md").read_text()

SHORT = "--samples 64 --warmup-samples 16 --validation-samples 4"

COMMANDS = {
    # what the README says -> what the test adds, so that it is short and writes where it may
    "make demo": f"OPTIONS={SHORT} --output {{folder}}/demo",
    "make test": "--dry-run",  # this very test runs inside it
    "adabatch train --preset demo --parallel fsdp --ranks 2 --schedule norm-test --eta 0.8 --output runs/mine": (
        f"{SHORT} --output {{folder}}/mine"
    ),
    "adabatch train --help": "",
    "torchrun --nnodes 1 --nproc-per-node 2 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint localhost:29400 "
    "--rdzv-id mine cli.py train --preset demo --parallel fsdp --checkpoint-interval 4096 "
    "--output runs/torchrun": (f"{SHORT} --output {{folder}}/torchrun"),
    "adabatch prepare --data stdlib --tokenizer bpe --vocabulary-size 4096": "",
    "adabatch train --preset demo --data stdlib --streaming --output runs/streamed": (
        f"{SHORT} --output {{folder}}/streamed"
    ),
    "adabatch train --preset demo --parallel fsdp --plan-ranks 1024": "",
    "adabatch compare --output runs/comparison": (
        "--quick --seeds 1 --variants constant-16,constant-64,unbiased-0.8 --output {folder}/comparison"
    ),
    "adabatch ablate --output runs/ablation": (
        "--quick --etas 0.2,0.8 --vary groups --samples 64 --output {folder}/ablation"
    ),
    "adabatch plot runs/mine runs/torchrun": "{folder}/mine {folder}/torchrun --output {folder}/drawn",
    "adabatch export runs/mine --to runs/exported": "{folder}/mine --to {folder}/exported",
    "adabatch claims": "",
    "adabatch verify-bounds --quick --output runs/bounds": "--output {folder}/bounds",
    "adabatch prove L5 --show": "",
}


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_every_command_is_listed_here():
    assert sorted(readme_commands()) == sorted(COMMANDS)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, tmp_path):
    added = COMMANDS[command].format(folder=tmp_path)
    words = command.split() + ([added] if added.startswith("OPTIONS=") else added.split())
    if words[0] == "make":  # the environment that runs this test, as it is installed
        words += [f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
    if "plot" in words:  # of runs that the test leaves there
        words = [*words[:2], *added.split()]
        leave_runs(tmp_path / "mine", tmp_path / "torchrun")
    if "export" in words:
        words = [*words[:2], *added.split()]
        leave_checkpoint(tmp_path / "mine")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / command.rpartition("/")[2] if "--output" in command else tmp_path / "demo"
    if ("train" in command and not {"--help", "--plan-ranks"} & set(words)) or command == "make demo":
        assert (folder / "metrics.jsonl").read_text().count("\n") >= 2
        assert (folder / "figures" / "training.png").stat().st_size > 5000
        assert "mean batch" in done.stdout
    if "export" in words:
        assert (tmp_path / "exported" / "model.safetensors").stat().st_size > 1e6


def leave_runs(*folders: Path) -> None:
    """Metrics of two steps in each folder."""
    for size, folder in enumerate(folders, start=4):
        folder.mkdir()
        records = [{"step": k, "samples": k * size, "loss": 5.0 - k, "batch_size": size} for k in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def leave_checkpoint(folder: Path) -> None:
    """A run of one step."""
    from adabatch.settings import load_settings
    from adabatch.training.launch import launch

    launch(
        load_settings(
            "demo", overrides={"samples": 4, "warmup_samples": 2, "validation_interval": 0, "output": str(folder)}
        )
    )


def test_paths_in_the_text_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
    table = README[README.index("## Map of the code") :]
    for cell in re.findall(r"^\| (`[^|]*) \|", table, flags=re.MULTILINE):
        first, *others = [Path(name.strip("/")) for name in re.findall(r"`([\w/.]+)`", cell)]
        for path in [first, *(first.parent / other for other in others)]:
            assert (ROOT / path).exists(), path


def test_the_loop_in_the_readme_runs():
    """The Python block as it stands, on a small model."""
    import torch
    from torch import nn

    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    target = torch.randn(8, 1)
    sizes = []

    def next_samples(count):
        sizes.append(count)
        return torch.randn(count, 8)

    def loss_of(model, x):
        return (model(x) - x @ target - 3 * torch.randn(len(x), 1)).square().mean()

    names = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=0.05),
        "world_size": 1,
        "accumulation": 4,
        "budget": 2000,
        "next_samples": next_samples,
        "loss_of": loss_of,
    }
    exec(code, names)
    assert names["schedule"].samples == sum(sizes) >= 2000
    assert sizes[-1] > sizes[0]
