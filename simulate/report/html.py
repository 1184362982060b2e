"""The report as one page: no scripts, no requests, figures inside, readable on a phone and on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from simulate.outcomes import Expectation
from simulate.report.contents import Report
from simulate.report.numbers import number, ratio

__all__ = ["html_report"]

GROUPS = {
    Expectation.HOLDS: "What should hold",
    Expectation.REFUTED: "What should be refuted",
    Expectation.CONTROL: "Negative controls, which must fail",
}
ROWS_SHOWN = 30


def html_report(report: Report, figures: Mapping[str, Path], captions: Mapping[str, str]) -> str:
    """The whole page, from ``templates/report.html``.

    Args:
        report: what was run and what came out.
        figures: PNG files by the name of the table they were drawn from; they are copied into the page.
        captions: by the same names.
    """
    pages = Environment(
        loader=PackageLoader("simulate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"number": number, "ratio": ratio, "base64": _base64}
    return pages.get_template("report.html").render(
        report=report, figures=figures, captions=captions, groups=GROUPS, rows_shown=ROWS_SHOWN
    )


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
