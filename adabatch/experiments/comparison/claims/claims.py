"""The sentences of a page of results, each checked against the figures that allow it.

A file such as docs/results/claims.json lists them::

    {"page": "results.md", "claims": [{
        "sentence": "Growing the batch ends 0.012 above the constants.",
        "holds": ["29k: exchange.gap resolved above 0"],
        "given": []}]}

``holds`` are conditions on the comparison.json of a folder in docs/results (see
:mod:`adabatch.experiments.comparison.claims.conditions`), of which there is at least one. Every decimal number of
the sentence is, at its digits, the mean or the half width of a condition's figure, or one of those ``given``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any

from adabatch.experiments.comparison.claims.conditions import Condition
from adabatch.experiments.comparison.claims.readings import AbsentError, Reading
from adabatch.experiments.comparison.claims.sentences import blocks, decimal_numbers, sentences, shows
from adabatch.experiments.text import TextTable

__all__ = [
    "Claim",
    "ClaimCheck",
    "Claims",
    "check",
    "load_claims",
    "page_faults",
    "print_survival",
    "read_comparisons",
    "survival_table",
]

Comparisons = Mapping[str, Mapping[str, Any]]
"""The contents of comparison.json by the name of its folder."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the page.

    Attributes:
        sentence: white space collapsed.
        holds: the conditions that allow it.
        given: numbers of the sentence that are not results, such as a bound that a condition names.
    """

    sentence: str
    holds: tuple[Condition, ...]
    given: tuple[float, ...] = ()


@dataclass(frozen=True)
class Claims:
    """All claims of a page, whose file name is ``page``."""

    page: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class ClaimCheck:
    """Whether a claim holds.

    Attributes:
        sentence: of the claim.
        holds: whether all conditions hold and all numbers are shown by their figures.
        evidence: one text for each condition, such as
            ``29k: exchange.gap = +0.0123 ± 0.0040 (n 8): resolved above 0``, and one for each number that nothing
            shows.
    """

    sentence: str
    holds: bool
    evidence: tuple[str, ...]


def load_claims(path: Path) -> Claims:
    """The claims in a file.

    Raises:
        ValueError: for a file of another form, saying which claim and what is allowed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        listed = list(content["claims"])
        return Claims(str(content["page"]), tuple(_claim(number, each) for number, each in enumerate(listed, 1)))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is not a file of claims: it does not exist (--claims)") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f'{path} is not a file of claims ({error!r}): it is JSON as {{"page": "results.md", "claims": [...]}}'
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_comparisons(claims: Claims, folder: Path) -> dict[str, Mapping[str, Any]]:
    """The comparisons that the claims are about, from ``<folder>/<comparison>/comparison.json``.

    Raises:
        ValueError: if one is missing.
    """
    names = {condition.comparison for claim in claims.claims for condition in claim.holds}
    return {name: _read_comparison(folder / name / "comparison.json") for name in sorted(names)}


def check(claims: Claims, comparisons: Comparisons) -> list[ClaimCheck]:
    """Whether each claim holds, and what shows it.

    Raises:
        ValueError: for a condition on a comparison, schedule or figure that is not there, saying which claim and
            what there is.
    """
    return [_verdict(number, claim, comparisons) for number, claim in enumerate(claims.claims, 1)]


def page_faults(claims: Claims, page: str) -> list[str]:
    r"""Claims that are not a whole sentence of the page, and sentences of its bullet points that are not a claim.

    >>> page_faults(Claims("results.md", ()), "Only bullet points count.\n\n- The batch grows.")
    ['not among the claims: The batch grows.']
    """
    found = [(sentence, block.bullet) for block in blocks(page) for sentence in sentences(block.text)]
    on_page = {sentence for sentence, _ in found}
    claimed = {claim.sentence for claim in claims.claims}
    strange = [claim.sentence for claim in claims.claims if claim.sentence not in on_page]
    return [
        *(f"not a sentence of {claims.page}: {each}{_instead(each, on_page)}" for each in strange),
        *(f"not among the claims: {each}" for each, bullet in found if bullet and each not in claimed),
    ]


def survival_table(claims: Claims, comparisons: Comparisons) -> TextTable:
    """Whether the conditions of each claim hold when all of them are put to one comparison, for each of several.

    As for the same study with other seeds, or on another corpus. Numbers in the sentences are not checked.

    Raises:
        ValueError: for a condition on a figure of the setting or the noise scale that no comparison has.
    """
    rows = []
    for number, claim in enumerate(claims.claims, 1):
        cells = [_survives(number, claim, content) for content in comparisons.values()]
        rows.append((claim.sentence.replace("|", "\\|"), *cells))
    note = (
        "Whether the figures of each comparison, on their own, allow the sentence; –: the comparison lacks a "
        "schedule or figure that the sentence is about. Numbers in a sentence are those of the page's comparisons."
    )
    return TextTable(f"Sentences of {claims.page}", note, ("sentence", *comparisons), rows)


def print_survival(path_of_claims: Path, comparison_json: Path) -> str:
    """The table of :func:`survival_table` for one comparison, in Markdown, and how many sentences it allows.

    Raises:
        ValueError: for a file of another form.
    """
    claims = load_claims(path_of_claims)
    table = survival_table(claims, {"holds": _read_comparison(comparison_json)})
    answers = [answer for _, answer in table.rows]
    told = len(answers) - answers.count("–")
    return f"{table.markdown()}\n{answers.count('yes')} of {told} sentences hold in {comparison_json}.\n"


def _claim(number: int, content: Any) -> Claim:
    with _naming(number, str(content)):
        if not (
            isinstance(content, dict)
            and content.keys() <= {"sentence", "holds", "given"}
            and isinstance(content.get("sentence"), str)
            and isinstance(content.get("holds"), list)
            and content["holds"]
            and all(type(value) in (int, float) for value in content.get("given", []))
        ):
            raise ValueError(
                "a claim has a sentence, the list holds of at least one condition, perhaps the list given of "
                "numbers, and nothing else"
            )
        conditions = tuple(Condition.parse(str(text)) for text in content["holds"])
        return Claim(" ".join(content["sentence"].split()), conditions, tuple(content.get("given", [])))


def _instead(sentence: str, on_page: Iterable[str]) -> str:
    """What the page has that is most like it."""
    return "".join(f" (it has: {each})" for each in get_close_matches(sentence, on_page, n=1))


def _verdict(number: int, claim: Claim, comparisons: Comparisons) -> ClaimCheck:
    readings = []
    for condition in claim.holds:
        with _naming(number, claim.sentence):
            if condition.comparison not in comparisons:
                raise ValueError(
                    f"the comparison {condition.comparison!r} is not known: there are "
                    f"{', '.join(comparisons) or 'none'}"
                )
            readings.append(condition.read(comparisons[condition.comparison]))
    held = [condition.holds(reading) for condition, reading in zip(claim.holds, readings, strict=True)]
    evidence = map(_evidence, claim.holds, readings, held)
    unshown = list(_unshown(claim, readings, comparisons))
    return ClaimCheck(claim.sentence, all(held) and not unshown, (*evidence, *unshown))


def _evidence(condition: Condition, reading: Reading, holds: bool) -> str:
    not_so = "" if holds else "this does not hold: "
    return f"{condition.comparison}: {condition.what} = {reading.text}: {not_so}{condition.wanted}"


def _unshown(claim: Claim, readings: Sequence[Reading], comparisons: Comparisons) -> Iterator[str]:
    """Of each number of the sentence that is neither given nor a figure's: that it is not."""
    schedules = [comparisons[condition.comparison]["schedules"] for condition in claim.holds]
    names = {name for each in schedules for key, entry in each.items() for name in (key, entry["label"])}
    figures = {(each.comparison, each.what): found for each, found in zip(claim.holds, readings, strict=True)}
    known = [*claim.given, *(value for reading in figures.values() for value in reading.numbers)]
    for number in decimal_numbers(claim.sentence, sorted(names)):
        showing = next((value for value in known if shows(number, value)), None)
        if showing is None:
            yield f"the number {number} is not shown by a figure of the conditions, nor given"
        else:
            known.remove(showing)  # a number that stands twice needs two figures


def _survives(number: int, claim: Claim, content: Mapping[str, Any]) -> str:
    with _naming(number, claim.sentence):
        try:
            held = [condition.holds(condition.read(content)) for condition in claim.holds]
        except AbsentError:
            return "–"
    return "yes" if all(held) else "no"


def _read_comparison(path: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: adabatch compare writes it") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not {"schedules", "setting", "noise_scale"} <= content.keys():
        raise ValueError(f"{path} does not hold a comparison as adabatch compare writes it: let it write it again")
    return content


@contextmanager
def _naming(number: int, sentence: str) -> Iterator[None]:
    """Errors say which claim they are about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"claim {number}, {shorten(sentence, 80)!r}: {error}") from error
