"""What is installed: four packages and the command, with their data, and nothing else."""

import subprocess
import sys
import zipfile

import pytest

from tests.support.repository import ROOT


@pytest.mark.slow
def test_the_wheel_carries_the_packages_and_the_command(tmp_path):
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
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
        installed = importlib.metadata.metadata(name)
        needs = SpecifierSet(installed["Requires-Python"] or "")
        refused += [f"{line}: Python {needs}" for python in promised if not needs.contains(python)]
        assert installed["Version"].split("+")[0] == version, f"{name}: make install brings what is pinned"
    assert refused == []
