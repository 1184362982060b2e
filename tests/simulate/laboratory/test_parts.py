"""Parts by name, from modules and files, with settings; and what is refused in one line."""

import pytest

from simulate.catalogue import CATALOGUES, catalogue
from simulate.laboratory.bounds import BoundRule
from simulate.laboratory.parts import KINDS, find
from simulate.objectives import Objective

OWN = """
from dataclasses import dataclass
import numpy as np
from simulate.laboratory import BoundRule
from simulate.objectives import Objective, Quadratic

@dataclass(frozen=True)
class Steep(Quadratic):
    name = "steep"
    extra: float = 2.0

class Lacks(Objective):
    def start(self):
        return np.ones(2)

class Nothing:
    eta = 0.2

class Fine(BoundRule):
    '''Fine.'''
    name = "fine"
    def value(self, run):
        return 1.0

def made():
    return Steep(dimension=7)

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("place", ["mine.py", "mine"])
def test_own_parts_come_from_files_and_modules_with_settings(own, place):
    made = find("objective", f"{place}:Steep,extra=3.5,dimension=4").make()
    assert isinstance(made, Objective)
    assert (made.name, made.extra, made.dimension) == ("steep", 3.5, 4)
    assert find("objective", f"{place}:made").make().dimension == 7
    assert isinstance(find("bound", f"{place}:Fine").make(), BoundRule)


REFUSALS = [
    (
        "objective",
        "parabola",
        "unknown objective 'parabola'; known: .*or name your own, as in mine.py:MyObjective",
    ),
    (
        "objective",
        "mine.py:Steeper",
        "objective 'mine.py:Steeper': mine.py has no 'Steeper'; it has: Steep, Lacks",
    ),
    ("objective", "mine.py:Steep,depth=1", "has no setting 'depth'; its settings are: dimension, "),
    ("objective", "mine.py:Steep,dimension", "a setting is written key=value, not 'dimension'"),
    (
        "objective",
        "mine.py:Steep,dimension=0",
        "cannot be made: dimension must be an integer of at least 1, not 0",
    ),
    ("objective", "mine.py:Lacks", r"objective 'mine.py:Lacks' lacks gradient\(\), smoothness\(\), value\(\)"),
    ("objective", "mine.py:Nothing", r"is not a simulate.objectives.Objective; it lacks start\(\), value\(\)"),
    ("objective", "mine.py:number", "must be a class or a function, not of the type int"),
    ("objective", "absent.py:Steep", "there is no file absent.py"),
    ("optimizer", "broken.py:Steep", "importing broken.py failed: ModuleNotFoundError: No module named 'nowhere"),
    ("optimizer", "no_such_module:Steep", "importing no_such_module failed: ModuleNotFoundError"),
    ("noise", "mine.py:Nothing", r"is not a simulate.noise.Noise; it lacks begin\(\)"),
    ("bound", "mine.py:Nothing", r"is not a simulate.laboratory.BoundRule; it lacks value\(\)"),
    ("noise", "gaussian,eta=-1", "noise 'gaussian,eta=-1' cannot be made: eta must be 0 or more, not -1"),
    ("noise", "additive,eta=nan", "cannot be made: eta must be positive, not nan"),
    ("noise", "gaussian,eta=large", "cannot be made: eta must be 0 or more, not large"),
    ("optimizer", "adam,step_size=1,beta1=1.0", r"cannot be made: beta1 must be in \[0, 1\), not 1\.0"),
    ("optimizer", "momentum,step_size=1,momentum=1.5", r"momentum must be in \[0, 1\), not 1\.5"),
    ("optimizer", "sgd,step_size=-1", "cannot be made: step_size must be 0 or more, not -1"),
    ("optimizer", "adamw,step_size=1,weight_decay=-1", "weight_decay must be 0 or more, not -1"),
]


@pytest.mark.parametrize(("kind", "text", "message"), REFUSALS, ids=lambda value: str(value)[:30])
def test_what_is_not_a_part_is_refused_by_name(own, kind, text, message):
    with pytest.raises(ValueError, match=message) as refused:
        find(kind, text).make()
    assert "\n" not in str(refused.value)


def test_catalogues_have_every_name_with_a_line():
    for kind in CATALOGUES:
        listed = catalogue(kind)
        assert listed
        assert all(line.strip() for line in listed.values())
    for kind, part in KINDS.items():
        assert set(catalogue(f"{kind}s")) == set(part.registry)
    with pytest.raises(ValueError, match="there is no list of 'colours'; choose one of: objectives"):
        catalogue("colours")
