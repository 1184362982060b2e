"""Studies of what was asked for: every objective with every noise, optimizer and bound; your own are checked.

Without noise, bound and optimizer: all built-in optimizers, each with the theorem on it, or measured.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.laboratory.result import StudyResult, StudyVerdict
from simulate.laboratory.study import USUAL_ETA, prepared
from simulate.optimizers import OPTIMIZERS
from simulate.own_code import is_own
from simulate.text import counted

__all__ = ["run"]


def run(settings: Settings, pieces: Pieces) -> Result:
    """All combinations."""
    objectives = tuple(dict.fromkeys(settings.objectives)) or settings.by_level(
        ("pseudo-huber",),
        ("pseudo-huber", "rastrigin"),
        ("pseudo-huber", "rastrigin", "geman-mcclure", "xy-chain"),
    )
    noises = tuple(dict.fromkeys(settings.noises)) or (f"gaussian,eta={USUAL_ETA}",)
    optimizers = tuple(dict.fromkeys(settings.optimizers)) or _optimizers(bool(settings.noises or settings.bounds))
    bounds: tuple[str | None, ...] = tuple(dict.fromkeys(settings.bounds)) or (None,)
    steps = settings.steps or settings.by_level(256, 1024, 8192)
    seeds = settings.seeds or settings.by_level(8, 16, 64)
    wanted = [(o, n, p, b) for o in objectives for n in noises for p in optimizers for b in bounds]

    def found(parts: tuple[str, str, str, str | None]) -> tuple[StudyResult, str]:
        one = prepared(*parts, steps=steps, seeds=seeds, seed=settings.run_seeds(seeds).start)
        own = any(part is not None and is_own(part) for part in parts)
        return one.run(checked=own or bool(settings.noises)), "" if one.bound is None else one.bound.theorem

    studied = pieces.each(wanted, found)
    results = [result for result, _ in studied]
    return Result(
        name="studies",
        title="Optimizers under noise, with the bound on each",
        summary=_summary(objectives, noises, steps, seeds, results),
        outcomes=[result.outcome for result in results],
        theorems=tuple(dict.fromkeys(theorem for _, theorem in studied if theorem)),
        unchecked=" ".join(dict.fromkeys(_without_bound(results))),
        tables={"studies": Table.of_rows(row for result in results for row in result.table.rows())},
    )


def _optimizers(asked: bool) -> tuple[str, ...]:
    """All; Adam alone where noise or a bound was asked for."""
    return ("adam",) if asked else tuple(OPTIMIZERS)


def _summary(
    objectives: tuple[str, ...], noises: tuple[str, ...], steps: int, seeds: int, results: list[StudyResult]
) -> str:
    return (
        f"{', '.join(objectives)}; noise {', '.join(noises)}; K up to {steps}, {counted(seeds, 'seed')}; "
        f"step sizes natural unless given. {' '.join(_checked(results))}"
    ).strip()


def _without_bound(results: list[StudyResult]) -> Iterator[str]:
    """Why there is no bound where there is a theorem on the optimizer."""
    return (result.statement for result in results if result.verdict is StudyVerdict.NO_BOUND and result.statement)


def _checked(results: list[StudyResult]) -> Iterator[str]:
    """What was checked of which parts, each once."""
    said = dict.fromkeys(line for result in results for line in result.checked)
    if said:
        yield f"Checked: {'; '.join(said)}."
