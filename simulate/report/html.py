"""The report as one page: no scripts, no requests, figures inside, readable on a phone and on paper."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from simulate.outcomes import Expectation
from simulate.report.comparison import SideBySide
from simulate.report.contents import Report
from simulate.report.figures.style import STYLE, WIDTH
from simulate.report.numbers import number, ratio
from simulate.report.statements import documentation, statement, typeset
from simulate.text import counted

__all__ = ["html_report"]

GROUPS = {
    Expectation.HOLDS: "What should hold",
    Expectation.REFUTED: "What should be refuted",
    Expectation.CONTROL: "Negative controls, which must fail",
}
ROWS_SHOWN = 30


def html_report(
    report: Report,
    figures: Mapping[str, Path],
    captions: Mapping[str, str],
    folder: Path,
    comparison: SideBySide | None = None,
) -> str:
    """The whole page, from ``templates/report.html``.

    Args:
        report: what was run and what came out.
        figures: PNG files by the name of the table they were drawn from; they are copied into the page.
        captions: by the same names.
        folder: where the page will be: its links to the documentation begin there.
        comparison: with an earlier report.
    """
    pages = Environment(
        loader=PackageLoader("simulate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"number": number, "ratio": ratio, "base64": _base64, "typeset": typeset, "counted": counted}
    pages.tests |= {"single": _is_single}
    return pages.get_template("report.html").render(
        report=report,
        figures=figures,
        captions=captions,
        groups=GROUPS,
        rows_shown=ROWS_SHOWN,
        comparison=comparison,
        statements={name: statement(name) for result in report.results for name in result.theorems},
        stated_in=_stated_in(report),
        documentation=lambda module: documentation(module, folder),
    )


def _stated_in(report: Report) -> dict[str, list[str]]:
    """The theorems whose statement an experiment shows: those that no earlier one uses."""
    first = {module: result.name for result in reversed(report.results) for module in result.theorems}
    return {result.name: [m for m in result.theorems if first[m] == result.name] for result in report.results}


def _is_single(file: Path) -> bool:
    """Whether a PNG is of one column: its width in pixels is in its header."""
    (pixels,) = struct.unpack(">I", file.read_bytes()[16:20])
    return bool(pixels < 0.8 * WIDTH * STYLE["figure.dpi"])


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
