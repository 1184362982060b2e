"""``adabatch verify-bounds``: run the experiments, print their verdicts, write the report and its figures.

Instance:
    Do the theorems hold where they claim to, are the refuted statements refuted, and does the check itself fail
    where it must?

Algorithm:
    Settings, registries and objectives are checked (:mod:`simulate.admission`) -> experiments (one file each in
    :mod:`simulate.experiments`; studies of parts in :mod:`simulate.laboratory`) -> verdicts and tables -> figures
    with the CSV each was drawn from -> ``report.json`` and ``report.html``.

Guarantee:
    The exit code is 0 if and only if everything that should hold holds, everything that should be refuted is
    refuted, and every negative control fails. Where nothing would be checked, or not what was asked for, an error
    says so, and nothing is written.

Example:
    >>> from pathlib import Path
    >>> resolve(Settings(objectives=("parabola",)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown objective 'parabola'; known: directional-huber, geman-mcclure, ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.options import given_options, option
from simulate.experiments.result import Result
from simulate.experiments.settings import Level, Settings
from simulate.kept import KeptResults
from simulate.outcomes import Outcome
from simulate.pools import Pool, plain_pool
from simulate.report.comparison import SideBySide, compare
from simulate.report.contents import Report
from simulate.report.numbers import number, ratio
from simulate.report.saved import SavedReport
from simulate.running import register_objectives, run_experiments

if TYPE_CHECKING:
    from simulate.laboratory.parts import Kind

__all__ = [
    "EXPERIMENTS",
    "Level",
    "Settings",
    "asks_for_studies",
    "outcome_table",
    "require_verdicts",
    "resolve",
    "verify_bounds",
]


RENAMED = {"printed-theorem": "published-theorem"}
"""Earlier names of experiments."""

FIGURE_FILES = (".csv", ".png", ".pdf")
"""Of each table that a report lists, in its folder ``figures``."""

ADAM_EXPERIMENTS = ("bounds", "slopes")
"""Those on Adam's grid: skipped where only other optimizers are asked for."""


def resolve(settings: Settings) -> tuple[str, ...]:
    """Check the settings before anything runs; returns the experiments to run.

    Raises:
        ValueError: for unknown names (it lists the known ones), an inadmissible (beta1, beta2, eta) (it names the
            nearest admissible eta), numbers out of range, options that no chosen experiment reads, registries and
            objectives that experiments cannot go by, or an output folder that exists without ``overwrite``.
    """
    from simulate.admission import require_built_in_rules, require_objectives
    from simulate.experiments.adam.bounds import chosen_adam_settings
    from simulate.experiments.rows import chosen_objectives
    from simulate.laboratory.parts import find

    require_built_in_rules()
    register_objectives(settings)
    for name in settings.experiments:
        if name in RENAMED:
            raise ValueError(f"experiment {name!r} was renamed: use --experiment {RENAMED[name]}")
        _ = EXPERIMENTS[name]
    for kind, texts in _parts(settings).items():
        for text in texts:
            find(kind, text)
    chosen_objectives(settings)
    if asks_for_studies(settings) and not settings.experiments:
        settings = replace(settings, experiments=("studies",))
    without_adam = () if chosen_adam_settings(settings) else ADAM_EXPERIMENTS
    for name, least in (("steps", 16), ("seeds", 1), ("seed", 0)):
        value = getattr(settings, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} must be at least {least}, not {value}")
    if settings.output.exists() and not settings.overwrite:
        raise ValueError(f"{settings.output} exists; choose another --output, or give --overwrite to replace it")
    if settings.output.exists() and not _is_replaceable(settings):
        raise ValueError(f"{settings.output} holds no earlier report; it is not replaced. Choose another --output")
    if idle := [name for name in dict.fromkeys(settings.experiments) if name in without_adam]:
        raise ValueError(f"nothing to run: {', '.join(idle)} need --optimizer adam, or rmsprop at beta1 = 0")
    names = tuple(name for name in dict.fromkeys(settings.experiments or EXPERIMENTS) if name not in without_adam)
    _require_options_read(names, settings)
    on_grid = any(EXPERIMENTS[name].reads("objectives") for name in names)
    require_objectives(chosen_objectives(settings) if on_grid else ())
    return names


def asks_for_studies(settings: Settings) -> bool:
    """Whether noise, a bound or an optimizer was asked for that no experiment but studies takes."""
    others = [name for name in settings.optimizers if _experiments_on(name) == ["studies"]]
    return bool(settings.noises or settings.bounds or others)


def _parts(settings: Settings) -> dict[Kind, tuple[str, ...]]:
    """What was asked for, by kind."""
    return {
        "objective": settings.objectives,
        "optimizer": settings.optimizers,
        "noise": settings.noises,
        "bound": settings.bounds,
    }


def _require_options_read(names: tuple[str, ...], settings: Settings) -> None:
    """Raise ValueError for an option that would change nothing, naming the experiments that read it."""
    for given in given_options(settings):
        readers = [name for name in EXPERIMENTS if EXPERIMENTS[name].reads(given)]
        _require_one_of(option(given, settings), readers, names)
    for optimizer in settings.optimizers:
        _require_one_of(f"--optimizer {optimizer}", _experiments_on(optimizer), names)


def _experiments_on(optimizer: str) -> list[str]:
    """The experiments that a choice of this optimizer has an effect on: those with theorems on it."""
    from simulate.laboratory.related_bounds import BUILT_IN

    related = ["related-bounds"] if any(check.optimizer == optimizer for check in BUILT_IN) else []
    return [*(ADAM_EXPERIMENTS if optimizer in ("adam", "rmsprop") else ()), *related, "studies"]


def _require_one_of(given: str, readers: list[str], names: tuple[str, ...]) -> None:
    if not set(readers) & set(names):
        used = f"it is for {', '.join(readers)}" if readers else "no experiment has a theorem on it"
        raise ValueError(f"{given} does not apply to {', '.join(names)}: {used}")


def _is_replaceable(settings: Settings) -> bool:
    """Whether the output is an empty folder or one that an earlier call wrote."""
    folder = settings.output
    return folder.is_dir() and (_tables_of_report(folder) is not None or not any(folder.iterdir()))


def _tables_of_report(folder: Path) -> list[str] | None:
    """The names of the tables that the report in a folder lists; None if it holds no report."""
    try:
        experiments = json.loads((folder / "report.json").read_text())["experiments"]
        return [Path(table).stem for experiment in experiments for table in experiment["tables"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove_report(folder: Path) -> None:
    """Remove what an earlier call wrote, by name: the folder may hold files of others."""
    for table in _tables_of_report(folder) or []:
        for kind in FIGURE_FILES:
            (folder / "figures" / f"{table}{kind}").unlink(missing_ok=True)
    for name in ("report.html", "report.json"):
        (folder / name).unlink(missing_ok=True)


def verify_bounds(
    settings: Settings, command: str = "adabatch verify-bounds", processes: int = 1, pool: Pool = plain_pool
) -> int:
    """Run, print and write everything.

    Experiments and pieces of them that are finished are kept until the report is written, so that the same call
    continues with the others after an interrupt.

    Args:
        settings: what to run.
        command: as typed, for the report.
        processes: experiments at once.
        pool: of workers.

    Returns:
        The exit code: 0 if all verdicts came out as they should, else 1.

    Raises:
        ValueError: see :func:`resolve`, and :func:`require_verdicts`.
    """
    names = resolve(settings)
    earlier = None if settings.against is None else SavedReport.read(settings.against)
    console = _console()
    kept = KeptResults.of(settings)
    results, seconds = run_experiments(names, settings, processes, kept, console, pool)
    require_verdicts(results, settings)
    for note in _notes(names, results, settings):
        console.print(note, style="yellow")
    values = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(settings).items()}
    report = Report(command, values, results, seconds, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    console.print(outcome_table(report.outcomes))
    comparison = None if earlier is None else compare(earlier, values, report.verdicts)
    with console.status("drawing figures"):
        _write(report, settings, comparison)
    kept.remove()
    if comparison is not None:
        console.print(f"Next to {comparison.folder}: {comparison.conclusion}", soft_wrap=True)
        for change in comparison.changes:
            console.print(f"  {change}", soft_wrap=True)
    failed = "".join(f"\n  {outcome.name}" for outcome in report.outcomes if not outcome.as_expected)
    console.print(report.conclusion + failed, style="green" if report.passed else "red")
    console.print(f"Report: {settings.output / 'report.html'}", soft_wrap=True)
    return 0 if report.passed else 1


def require_verdicts(results: Sequence[Result], settings: Settings) -> None:
    """Look for results without a verdict: nothing was checked there.

    Args:
        results: of the experiments that were run.
        settings: what was asked for.

    Raises:
        ValueError: if there is no verdict at all, or none of an experiment that was asked for by name.
    """
    empty = [result for result in results if not result.outcomes]
    if any(result.outcomes for result in results):
        empty = [result for result in empty if result.name in settings.experiments]
    if empty or not results:
        reasons = [f"{result.name} ({result.unchecked or 'no case applies'})" for result in empty]
        raise ValueError(f"nothing was checked: no verdict of {', '.join(reasons) or 'any experiment'}")


def _notes(names: tuple[str, ...], results: Sequence[Result], settings: Settings) -> Iterator[str]:
    """What was asked for and had no effect somewhere."""
    skipped = [name for name in EXPERIMENTS if name not in names and not settings.experiments]
    if skipped:
        yield f"Left out, as they need --optimizer adam or rmsprop: {', '.join(skipped)}."
    for given in given_options(settings):
        if others := [name for name in names if not EXPERIMENTS[name].reads(given)]:
            yield f"{option(given, settings)} has no effect on {', '.join(others)}."
    for result in results:
        if result.unchecked:
            yield f"No verdict: {result.unchecked.rstrip('.')} ({result.name})."


def _console() -> Console:
    """As wide as the terminal; elsewhere (a pipe, a log) wide enough for one line per verdict."""
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(width=120, markup=False, emoji=False)


def _write(report: Report, settings: Settings, comparison: SideBySide | None) -> None:
    """report.json, report.html and figures; an earlier report in the same folder is replaced."""
    from simulate.report.figures import FIGURES, save_figures
    from simulate.report.html import html_report

    _remove_report(settings.output)
    settings.output.mkdir(parents=True, exist_ok=True)
    tables = {name: table for result in report.results for name, table in result.tables.items()}
    figures = save_figures(tables, settings.output / "figures")
    captions = {name: recipe.caption for name, recipe in FIGURES.items()}
    page = html_report(report, figures, captions, settings.output, comparison)
    (settings.output / "report.html").write_text(page, encoding="utf-8")
    (settings.output / "report.json").write_text(report.to_json(), encoding="utf-8")


def outcome_table(outcomes: list[Outcome]) -> RichTable:
    """Measured, guaranteed, ratio, slope, kind and verdict, one line per statement."""
    table = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("claim", overflow="fold", min_width=15)
    for name in ("measured", "guaranteed", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("slope", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            number(outcome.measured),
            number(outcome.guaranteed),
            ratio(outcome),
            "" if outcome.slope is None else str(outcome.slope),
            outcome.kind.split()[0] if outcome.kind else "",
            Text(outcome.verdict, style="green" if outcome.as_expected else "bold red"),
        )
    return table
