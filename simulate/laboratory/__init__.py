"""A laboratory: your own objective, noise, optimizer or bound, checked, run and compared.

:func:`study` takes four parts, instances or the texts that name them (:mod:`simulate.laboratory.parts`), and
returns a :class:`StudyResult`.
"""

from __future__ import annotations

from simulate.laboratory.bounds import BoundRule, Run
from simulate.laboratory.parts import find
from simulate.laboratory.result import StudyResult, StudyVerdict
from simulate.laboratory.study import Study, study
from simulate.laboratory.theorems import BOUNDS

__all__ = ["BOUNDS", "BoundRule", "Run", "Study", "StudyResult", "StudyVerdict", "find", "study"]
