"""Each example is at most 15 lines more than the same loop without it, and monitoring changes nothing."""

import importlib.util
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.support.repository import ROOT, script

EXAMPLES = ROOT / "examples"
images = script("examples/images.py")
NAMES = ("bare_loop", "accelerate_loop", "trainer_callback", "lightning_callback")
NEEDS_LIGHTNING = pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")


def runnable(texts):
    """As parameters; those that start Lightning are skipped where it is not installed."""
    return [pytest.param(text, marks=[NEEDS_LIGHTNING] * ("lightning" in text)) for text in texts]


def without_adabatch(name, folder):
    """The example as a module, without the lines that adabatch adds."""
    lines = (EXAMPLES / f"{name}.py").read_text().splitlines(keepends=True)
    path = folder / f"plain_{name}.py"
    path.write_text("".join(line for line in lines if not line.rstrip().endswith("# +")))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def losses(module, name, monitor):
    """What the first steps of a short run log."""
    arguments = ["--samples", "320"] + ["--measure-only"] * monitor
    log = module.main(arguments)
    if name == "trainer_callback":
        log = [record for record in log.state.log_history if "loss" in record]
    return [record["loss"] for record in log]


@pytest.mark.parametrize("name", [*NAMES, "torchtitan_loop"])
def test_at_most_15_lines_more(name):
    code = (EXAMPLES / f"{name}.py").read_text()
    body = code.split('"""', 2)[2]
    added = [line for line in body.splitlines() if line.rstrip().endswith("# +")]
    others = [line for line in body.splitlines() if not line.rstrip().endswith("# +")]
    assert 5 <= len(added) <= 15
    assert all(len(line) <= 115 and ";" not in line for line in added)
    assert not re.search("adabatch|NormTest|GradientStatistics|set_accumulation", "\n".join(others))


@pytest.mark.parametrize("name", runnable(NAMES))
def test_monitoring_leaves_the_plain_loop_as_it_is(name, tmp_path):
    """The loop without the added lines runs, and logs the losses of the monitored one."""
    expected = losses(without_adabatch(name, tmp_path), name, monitor=False)
    measured = losses(script(f"examples/{name}.py"), name, monitor=True)
    assert len(expected) >= 5
    if name == "trainer_callback":  # clipped by a norm accumulated in fp64 in place of fp32
        assert measured == pytest.approx(expected, rel=1e-4)
    else:
        assert measured == expected


def documented_commands():
    for name in NAMES:
        for line in (EXAMPLES / f"{name}.py").read_text().split('"""')[1].splitlines():
            if f"examples/{name}.py" in line:
                yield line.strip()


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("command", runnable(documented_commands()))
def test_documented_command(command, monkeypatch, capsys):
    words = [*command.split(), "--samples", "400"]
    if words[0] == "python":  # as Python runs a file, in this process, which has imported torch and transformers
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", words[1:])
        monkeypatch.syspath_prepend(str(EXAMPLES))
        runpy.run_path(words[1], run_name="__main__")
        assert "noise_scale" in capsys.readouterr().out
        return
    words[0] = str(Path(sys.executable).parent / words[0])
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "noise_scale" in done.stdout


def test_commands_are_found():
    assert len(list(documented_commands())) == 9


def test_gratings_are_learnable_and_reproducible():
    drawn, labels = images.gratings(64, torch.Generator().manual_seed(3))
    again, _ = images.gratings(64, torch.Generator().manual_seed(3))
    assert torch.equal(drawn, again)
    assert set(labels.tolist()) == set(range(images.CLASSES))
