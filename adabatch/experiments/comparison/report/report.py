"""The comparison as files: comparison.md, comparison.json, CSVs and figures; and on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

from adabatch.experiments.comparison.findings import Findings
from adabatch.experiments.comparison.report.figures import save_comparison_figures
from adabatch.experiments.comparison.report.machine_readable import Setting, as_json
from adabatch.experiments.comparison.report.raw_tables import runs_table, search_table
from adabatch.experiments.comparison.report.tables import loss_table, noise_table, time_table, tuning_table
from adabatch.experiments.comparison.results import Comparison
from adabatch.experiments.text import TextTable
from adabatch.files import write_text

__all__ = ["comparison_tables", "write_report"]


def write_report(comparison: Comparison, folder: Path, heading: str) -> str:
    """Write what is finished of a comparison into a folder, the same whenever the same runs were executed.

    Args:
        comparison: with a result of at least one schedule.
        folder: for ``comparison.md``, ``comparison.json``, a CSV of each table, ``runs.csv``, ``search.csv`` and
            the folder ``figures``.
        heading: begins the text.

    Returns:
        The text of ``comparison.md``.
    """
    findings, setting = Findings.of(comparison), Setting.of(comparison)
    tables = comparison_tables(findings)
    text = "\n".join([f"{heading}\n\n{setting_text(setting)}\n", *(table.markdown() for table in tables.values())])
    write_text(folder / "comparison.md", text)
    content = json.dumps(as_json(findings, setting), indent=1, allow_nan=False)
    write_text(folder / "comparison.json", content + "\n")
    files = tables | {"runs": runs_table(comparison), "search": search_table(comparison)}
    for name, table in files.items():
        write_text(folder / f"{name}.csv", table.csv())
    save_comparison_figures(findings, folder / "figures")
    return text


def comparison_tables(findings: Findings) -> dict[str, TextTable]:
    """The tables of the text, by file name."""
    tables = {
        "losses": loss_table(findings),
        "times": time_table(findings),
        "tuning": tuning_table(findings.comparison),
    }
    return tables | ({"noise": noise_table(findings.comparison, findings.noise)} if findings.noise else {})


def setting_text(setting: Setting) -> str:
    """Under which circumstances the schedules are compared, in a sentence or two.

    >>> print(setting_text(Setting("nano", 1000, ["stdlib"], "bytes", 64, 32000, 16.0, 256, "fp32", 8, 0, 18, 24)))
    Model nano (1,000 parameters) on stdlib, 32,000 samples per run (16 tokens per parameter), 8 seeds from 0 on.
    A schedule that was tuned here had up to 18 points and 24 runs.
    """
    tuned = (
        f"A schedule that was tuned here had up to {setting.search_points} points and {setting.search_runs} runs."
        if setting.search_runs
        else "Learning rates, paths and warm-ups were found by another comparison."
    )
    return (
        f"Model {setting.model} ({setting.parameters:,} parameters) on {', '.join(setting.data)}, "
        f"{setting.samples:,} samples per run ({setting.tokens_per_parameter:.3g} tokens per parameter), "
        f"{setting.seeds} seed{'s' if setting.seeds != 1 else ''} from {setting.first_seed} on.\n{tuned}"
    )
