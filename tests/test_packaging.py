"""What is installed: four packages and the command, with their data, and nothing else."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.repository import ROOT


def run(*command, **options) -> str:
    """What a command, which succeeds, prints."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A clone of the last commit."""
    folder = tmp_path_factory.mktemp("packaging") / "source"
    run("git", "clone", "--quiet", ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A fresh environment with the wheel and its extra [theory], of which only what is imported is compiled."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-compile", f"{wheel}[theory]", env=outside())
    return folder


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Where Python keeps what it compiles, once for all commands: not in the environment."""
    return str(tmp_path_factory.mktemp("compiled"))


def outside(**more: str) -> dict[str, str]:
    """Environment variables without a path to the clone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | more


def files(environment: Path) -> dict[str, tuple[int, int]]:
    """Every file of an environment, with its size and the time it was written."""
    found = {str(path): path.stat() for path in environment.rglob("*") if path.is_file()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("prove L5", "1 of 1 proofs hold"),
        ("verify-bounds --quick --experiment sign-descent --output bounds", "verdict came out as it should"),
        ("train --preset demo --samples 64 --warmup-samples 16 --validation-samples 4 --threads 1", "mean batch"),
    ],
)
def test_the_wheel_without_the_clone_runs_and_writes_nothing_next_to_itself(
    environment, compiled, tmp_path, command, shown
):
    """The extra [theory] as pip brings it; to train, the third-party packages of the environment of the tests."""
    packages = {"PYTHONPYCACHEPREFIX": compiled}
    if "train" in command:  # they are compiled where they lie
        packages = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": sysconfig.get_path("purelib")}
    before = files(environment)
    printed = run(
        environment / "bin" / "adabatch",
        *command.split(),
        cwd=tmp_path,
        env=outside(COLUMNS="200", **packages),
    )
    assert shown in printed
    assert files(environment) == before


@pytest.mark.slow
def test_the_extra_theory_brings_no_torch_and_the_packages_come_from_the_wheel(environment, compiled, tmp_path):
    code = """
import adabatch, proofs, simulate, theory
from importlib.util import find_spec
print(find_spec("torch"), *[module.__file__ for module in (adabatch, proofs, simulate, theory)])
"""
    torch, *homes = run(
        environment / "bin" / "python", "-c", code, cwd=tmp_path, env=outside(PYTHONPYCACHEPREFIX=compiled)
    ).split()
    assert torch == "None"
    assert len(homes) == 4
    assert all(Path(home).is_relative_to(environment) for home in homes)


@pytest.mark.slow
def test_the_wheel_carries_the_packages_and_the_command(wheel, source):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"adabatch", "proofs", "simulate", "theory"}
    for package in ("adabatch", "proofs", "simulate", "theory"):
        assert f"{package}/py.typed" in names
    for folder, ending in (("adabatch/settings/presets", ".toml"), ("theory/l1/certificates", ".npz")):
        committed = {f"{folder}/{path.name}" for path in (source / folder).glob(f"*{ending}")}
        assert committed
        assert committed <= set(names)
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "adabatch = adabatch.commands:main" in zipfile.ZipFile(wheel).read(entry_points).decode()


def test_the_version_is_written_once_more_only_in_the_citation():
    import importlib.metadata
    import re

    version = importlib.metadata.version("adabatch")
    (cited,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert cited == version


def test_constraints_pin_every_dependency_exactly():
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    names = {re.split(r"[\[<>=]", name)[0] for name in project["dependencies"] + extras} - {"adabatch"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {name.lower() for name in names} <= pinned


def test_what_is_pinned_runs_on_every_python_that_is_promised():
    """A distribution's own Requires-Python, against the oldest patch release of each minor version."""
    import importlib.metadata
    import tomllib

    from packaging.specifiers import SpecifierSet

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "
    promised = [f"{line.removeprefix(prefix)}.0" for line in project["classifiers"] if line.startswith(prefix)]
    assert SpecifierSet(project["requires-python"]).contains("3.11.0")
    assert "3.11.0" in promised
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    refused = []
    for line in lines:
        name, version = line.split("==")
        if name in {"lm-eval", "lightning", "wandb"}:  # of extras that the set-up leaves out
            continue
        installed = importlib.metadata.metadata(name)
        needs = SpecifierSet(installed["Requires-Python"] or "")
        refused += [f"{line}: Python {needs}" for python in promised if not needs.contains(python)]
        assert installed["Version"].split("+")[0] == version, f"{name}: make install brings what is pinned"
    assert refused == []
