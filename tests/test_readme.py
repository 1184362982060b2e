"""Every command in the README runs, every path in it exists, and its lines are short."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked_runs import ForkedRun
from tests.support.readme import COMMANDS, README, ROOT, SHORT, readme_commands


def test_every_command_is_listed_here():
    assert readme_commands() == list(COMMANDS)


def shell(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in the clone, with this environment's own as what ``.venv`` names, and with results in ``folder``."""
    commands = commands.replace(" runs/", f" {folder}/runs/").replace(".venv/", f"{sys.prefix}/")
    commands = re.sub(
        "^make .*", rf"\g<0> VENV={sys.prefix} -o {sys.prefix}/.installed", commands, flags=re.MULTILINE
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


# Others make environments of their own, from the network: tests/readme_in_a_shell.sh runs them.
HERE = [command for command in COMMANDS if ".venv-" not in command]


# A command of adabatch need not be a process: those that start ranks, and the help, show that one starts.
IN_A_SHELL = [
    word for word in HERE if not word.startswith("adabatch ") or "--ranks 2" in word or word == "adabatch --help"
]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A run of one step."""
    folder = tmp_path_factory.mktemp("run") / "mine"
    leave_checkpoint(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in HERE if command not in IN_A_SHELL])
def test_command_in_this_process(command, adabatch, small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    if "plot" in command:
        leave_runs(tmp_path / "runs" / "mine", tmp_path / "runs" / "torchrun")
        command += f" --output {tmp_path}/drawn"
    if "export" in command or "covers" in command:
        shutil.copytree(small_run, tmp_path / "runs" / "mine")
    words = shlex.split(f"{command} {COMMANDS.get(command, '')}".replace(" runs/", f" {tmp_path}/runs/"))
    printed = adabatch.output(*words[1:])
    assert printed
    if "--streaming" in command:
        require_trained(tmp_path / "runs" / "streamed", printed)
    if "export" in command:
        assert (tmp_path / "runs" / "exported" / "model.safetensors").stat().st_size > 1e6
    if "--version" in command:
        assert re.search(r"\d+\.\d+\.\d+", printed)


def test_every_command_runs_here_or_there():
    here = [command for command in HERE if command not in IN_A_SHELL]
    assert len(here) >= 10
    assert {command.split()[1] for command in here} >= {"claims", "prove", "export", "plot", "covers", "prepare"}
    assert any("torchrun" in command for command in IN_A_SHELL)
    assert sum(command.startswith("adabatch train --preset") for command in IN_A_SHELL) >= 1


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("command", [command for command in IN_A_SHELL if command != "make demo"])
def test_command(command, tmp_path):
    done = shell(f"{command} {COMMANDS[command]}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if " train --preset" in command:
        require_trained(tmp_path / "runs" / command.rpartition("runs/")[2], done.stdout)


def require_trained(folder: Path, printed: str) -> None:
    """A run and its figures are in the folder."""
    assert (folder / "metrics.jsonl").read_text().count("\n") >= 2
    assert (folder / "figures" / "training.png").stat().st_size > 5000
    assert "mean batch" in printed


@pytest.mark.slow
@pytest.mark.distributed
def test_make_demo(tmp_path, monkeypatch):
    """What make would start, in a fork: the next command, with its ranks, is started as it is."""
    monkeypatch.chdir(ROOT)
    options = f"{SHORT} --output {tmp_path}/runs/demo"
    done = shell(f"make --no-print-directory demo --dry-run OPTIONS='{options}'", tmp_path)
    program, *words = shlex.split(done.stdout.splitlines()[-1])
    assert program.endswith("bin/adabatch")
    run = ForkedRun(words, tmp_path / "log")
    assert run.wait(150) == 0, (tmp_path / "log").read_text()
    require_trained(tmp_path / "runs" / "demo", (tmp_path / "log").read_text())


def test_the_extras_that_the_readme_names_exist():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    section = README[README.index("\n## Only the theory") : README.index("\n## Map")]
    named = set(re.findall(r"\.\[(\w+)\]'", section)) | set(
        re.findall(r"`(\w+)`", section[section.index("The other extras") :])
    )
    assert {"theory", "train"} <= named <= set(extras)


def leave_runs(*folders: Path) -> None:
    """Metrics of two steps in each folder."""
    for size, folder in enumerate(folders, start=4):
        folder.mkdir(parents=True)
        records = [{"step": k, "samples": k * size, "loss": 5.0 - k, "batch_size": size} for k in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def leave_checkpoint(folder: Path) -> None:
    """A run of one step."""
    from adabatch.settings import load_settings
    from adabatch.training.launch import launch

    small = {"samples": 4, "warmup_samples": 2, "validation_interval": 0, "threads": 1}
    launch(load_settings("demo", overrides=small | {"output": str(folder)}))


def test_lines_are_short():
    assert [line for line in README.splitlines() if len(line) > 115] == []


def test_paths_in_the_text_exist():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
    for page, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", README):
        headings = re.findall("^#+ (.*)$", (ROOT / page).read_text() if page else README, flags=re.MULTILINE)
        assert heading in [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings], heading


def test_the_map_has_a_line_for_each_folder():
    """Every folder of the repository's root and of ``adabatch/``, except what a line stands for as a whole."""
    table = README[README.index("## Map of the repository") :]
    named = re.findall(r"^\| `([\w/]+)/` \|", table, flags=re.MULTILINE)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("not a git checkout")
    folders = {Path(*Path(name).parts[: 2 if name.startswith("adabatch/") else 1]) for name in listed.splitlines()}
    expected = {str(folder) for folder in folders if (ROOT / folder).is_dir() and not str(folder).startswith(".")}
    assert sorted(named) == sorted(expected - {"adabatch"})


def test_the_loop_in_the_readme_runs():
    """The Python block as it stands, on a small model."""
    import torch
    from torch import nn

    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    target = torch.randn(8, 1)
    seen = []

    def next_samples(count):
        seen.append(count)
        return torch.randn(count, 8)

    def loss_of(model, x):
        return (model(x) - x @ target - 3 * torch.randn(len(x), 1)).square().mean()

    names = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=0.05),
        "world_size": 1,
        "micro_batch": 4,
        "budget": 2000,
        "next_samples": next_samples,
        "loss_of": loss_of,
    }
    exec(code, names)
    assert names["schedule"].samples == sum(seen) >= 2000
    assert set(seen) == {4}
    assert names["batch_size"] == names["schedule"].batch_size > 8
