"""A user's own theory.py, simulate.py, proofs.py, cli.py and moments.py are in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

FOREIGN = ("theory", "simulate", "proofs", "cli", "moments")

DATA = "--data text --tokenizer bpe --vocabulary-size 300"
TRAIN = """
from adabatch import load_settings, train
data = {"data": "text", "tokenizer": "bpe", "vocabulary_size": 300}
small = {"samples": 64, "warmup_samples": 16, "validation_samples": 4, "figures": False}
result = train(load_settings("demo", overrides=data | small | {"parallel": "fsdp", "ranks": 2, "output": "run"}))
print(result.samples, len(result.records) == result.steps)
"""
"""A session without a file."""

SCRIPT = """
import sys
from adabatch.commands import main
if __name__ == "__main__":
    sys.exit(main())
"""
"""What pip writes for an entry point."""

WORKER = """
from adabatch.commands import main

def homes(names):
    from importlib import import_module
    return [import_module(name).__file__ for name in names]

if __name__ == "__main__":
    from multiprocessing import get_context
    with get_context("{method}").Pool(1) as pool:
        print(*pool.apply(homes, (["theory", "proofs", "simulate"],)), sep="\\n")
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of modules that cannot be imported."""
    for name in FOREIGN:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError(f'{__file__} was imported')\n")
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder, which comes first on PYTHONPATH too."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def output(folder: Path, *arguments: str) -> str:
    """What Python, which succeeds, prints."""
    done = python(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_folder_would_be_in_the_way(folder):
    """The control: without adabatch's own way of finding its packages, the foreign ones are imported."""
    for name in FOREIGN:
        assert f"{name}.py was imported" in python(folder, "-c", f"import {name}").stderr


def test_the_library_with_all_its_public_names_is_imported(folder):
    code = "import adabatch; print(*[getattr(adabatch, name) is not None for name in adabatch.__all__])"
    assert set(output(folder, "-c", code).split()) == {"True"}


def test_the_version_is_shown(folder):
    assert output(folder, "-m", "adabatch", "--version").startswith("adabatch 0.")


@pytest.mark.parametrize(
    ("start", "arguments", "shown"),
    [
        ("start.py", "claims", "Thm B.1"),
        ("-m adabatch", "prove L5", "1 of 1 proofs hold"),
    ],
)
def test_the_commands_of_the_theory_work(folder, start, arguments, shown):
    (folder / "start.py").write_text(SCRIPT)
    assert shown in output(folder, *start.split(), *arguments.split())


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_process_finds_the_packages_of_the_command(folder, method):
    (folder / "start.py").write_text(WORKER.format(method=method))
    expected = [str(ROOT / name / "__init__.py") for name in ("theory", "proofs", "simulate")]
    assert output(folder, "start.py").splitlines() == expected


@pytest.mark.slow
@pytest.mark.distributed
def test_workers_of_the_command_and_ranks_of_a_session_work(folder):
    (folder / "text").mkdir()
    for part in range(4):
        (folder / "text" / f"{part}.txt").write_text("some text, again and again. " * 2000)
    output(folder, "-m", "adabatch", "prepare", "--processes", "2", *DATA.split())
    samples, alike = output(folder, "-c", TRAIN).splitlines()[-1].split()
    assert int(samples) >= 64
    assert alike == "True"
    assert "norm test at eta" in output(folder, "-m", "adabatch", "covers", "run")


def test_a_foreign_module_that_is_already_imported_is_named_in_one_line(tmp_path):
    (tmp_path / "theory.py").write_text("")
    done = python(tmp_path, "-c", "import theory; from adabatch.commands import main; main()", "claims")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert str(tmp_path / "theory.py") in done.stderr
    assert done.stderr.count("\n") == 1
