"""The names that ``from adabatch import ...`` offers: all documented, none loaded before its use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import adabatch


@pytest.mark.parametrize("name", sorted(set(adabatch.__all__) - {"__version__"}))
def test_a_public_name_is_documented_and_listed(name):
    value = getattr(adabatch, name)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}(")  # what a dataclass without a docstring gets
    assert value.__module__.startswith("adabatch.")
    assert name in dir(adabatch)


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="module 'adabatch' has no attribute 'NormTests'"):
        _ = adabatch.NormTests


def test_nothing_is_loaded_before_its_use():
    code = "import sys, adabatch; print(*sorted({'numpy', 'torch', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
