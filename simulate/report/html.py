"""The report as one page: no scripts, no requests, figures inside, readable on a phone and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from simulate.experiments.result import Result, Table
from simulate.report.numbers import number, ratio
from simulate.report.record import Report
from simulate.report.style import STYLE_SHEET
from simulate.verdicts import Expectation, Verdict

__all__ = ["html_report"]

GROUPS = {
    Expectation.HOLDS: "What should hold",
    Expectation.REFUTED: "What should be refuted",
    Expectation.CONTROL: "Negative controls, which must fail",
}
ROWS_SHOWN = 30


def html_report(report: Report, figures: Mapping[str, Path], captions: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        report: what was run and what came out.
        figures: PNG files by the name of the table they were drawn from; they are copied into the page.
        captions: by the same names.
    """
    body = [
        _header(report),
        "<h2>Verdicts</h2>",
        _verdict_table(report.verdicts),
        *(_section(result, report.seconds[result.name], figures, captions) for result in report.results),
        _colophon(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>adabatch verify-bounds</title>\n"
        f"<style>{STYLE_SHEET}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    verdicts, expected = report.verdicts, sum(v.as_expected for v in report.verdicts)
    if report.passed:
        outcome = f'<span class="good">All {len(verdicts)} verdicts came out as they should.</span>'
    else:
        outcome = f'<span class="bad">{len(verdicts) - expected} of {len(verdicts)} verdicts did not.</span>'
    return (
        "<h1>Measured gradient norms against theoretical bounds</h1>\n"
        f'<p class="lead">{outcome}</p>\n'
        "<p>Bounds on the average gradient norm of Adam and its relatives under norm tests, evaluated on the same "
        "constants as the simulated runs. A theorem must hold in every case; what is refuted must stay refuted; a "
        "negative control must fail, or the check could not.</p>\n"
        f"<pre>{escape(report.command)}</pre>"
    )


def _verdict_table(verdicts: Iterable[Verdict]) -> str:
    """The claims' verdicts, grouped by what was expected of them."""
    chosen = list(verdicts)
    rows = []
    for expectation, title in GROUPS.items():
        group = [verdict for verdict in chosen if verdict.expected is expectation]
        if group:
            rows.append(f'<tr class="group"><td colspan="7">{title}</td></tr>')
            rows += [_verdict_row(verdict) for verdict in group]
    return (
        '<div class="scroll"><table class="verdicts">\n<tr><th>Verdict</th><th>Claim</th>'
        '<th class="number">Measured</th><th class="number">Guaranteed</th><th class="number">Ratio</th>'
        "<th>Slope</th><th>Kind</th></tr>\n" + "\n".join(rows) + "\n</table></div>"
    )


def _verdict_row(verdict: Verdict) -> str:
    shade = "good" if verdict.as_expected else "bad"
    where = f"{verdict.headline.what} ({len(verdict.asserted)} compared)" if verdict.headline else "no evidence"
    notes = " ".join(part for part in (where + ".", verdict.note) if part)
    slope = str(verdict.slope) if verdict.slope else ""
    return (
        f'<tr><td class="{shade}">{escape(verdict.outcome)}</td>'
        f'<td class="statement"><b>{escape(verdict.name)}.</b> {escape(verdict.statement)}'
        f"<small>{escape(notes)}</small></td>"
        f'<td class="number">{number(verdict.measured)}</td><td class="number">{number(verdict.guaranteed)}</td>'
        f'<td class="number">{ratio(verdict)}</td><td class="number">{escape(slope)}</td>'
        f"<td>{escape(str(verdict.kind))}</td></tr>"
    )


def _section(result: Result, seconds: float, figures: Mapping[str, Path], captions: Mapping[str, str]) -> str:
    parts = [
        f'<h2 id="{escape(result.name)}">{escape(result.title)}</h2>',
        f"<p>{escape(result.summary)}</p>",
        *(_figure(figures[name], captions[name]) for name in result.tables if name in figures),
        *(_evidence(verdict) for verdict in result.verdicts),
        *(_table(name, table) for name, table in result.tables.items()),
        f'<p class="soft"><small>{seconds:.1f} s</small></p>',
    ]
    return "\n".join(parts)


def _figure(image: Path, caption: str) -> str:
    data = base64.b64encode(image.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)} <code>figures/{escape(image.stem)}.pdf</code></figcaption></figure>"
    )


def _evidence(verdict: Verdict) -> str:
    """The comparisons behind one verdict, those that say most first."""
    record = verdict.as_dict()
    shown = [f"<li>{escape(str(c))}</li>" for c in sorted(verdict.supporting, key=lambda c: c.holds)[:10]]
    asserted = "".join(f"<li>{escape(_line(c))}</li>" for c in record["asserted"])
    supporting = f"<p>What the evidence rests on:</p><ul>{''.join(shown)}</ul>" if shown else ""
    return (
        f"<details><summary>{escape(verdict.name)}: {escape(verdict.outcome)}</summary>"
        f"<p>{escape(verdict.statement)}</p><ul>{asserted}</ul>{supporting}</details>"
    )


def _line(comparison: Mapping[str, object]) -> str:
    relation = {"<=": "≤", ">=": "≥", "==": "=", "~": "≈"}.get(str(comparison["asserted"]), comparison["asserted"])
    holds = "holds" if comparison["holds"] else "does not hold"
    sides = f"{number(comparison['left'])} {relation} {number(comparison['right'])}"
    return f"{comparison['what']}: {sides} {holds}"


def _table(name: str, table: Table) -> str:
    """The first rows of a figure's data."""
    head = "".join(f'<th class="number">{escape(column)}</th>' for column in table.columns)
    lines = [
        "<tr>" + "".join(f'<td class="number">{escape(number(value))}</td>' for value in row.values()) + "</tr>"
        for row in table.rows()[:ROWS_SHOWN]
    ]
    note = f"the first {ROWS_SHOWN} of {len(table)} rows" if len(table) > ROWS_SHOWN else f"{len(table)} rows"
    return (
        f"<details><summary>Data: figures/{escape(name)}.csv, {note}</summary>"
        f'<div class="scroll"><table>\n<tr>{head}</tr>\n' + "\n".join(lines) + "\n</table></div></details>"
    )


def _colophon(report: Report) -> str:
    entries = {
        "Command": report.command,
        "Created": report.created,
        "Versions": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        **{name.replace("_", " ").capitalize(): _setting(value) for name, value in report.settings.items()},
    }
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries.items())
    return f"<h2>How to run it again</h2>\n<dl>{items}</dl>"


def _setting(value: object) -> str:
    if value is None or value in ((), []):
        return "the level's own"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
