"""What ``adabatch prove certificates`` does: verify files, with a progress bar, and print a table."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from proofs.certificates.atoms import Inequality
from proofs.certificates.branching import RefusedError
from proofs.certificates.verify import Pool, cover, verify, verify_boxes, verify_file
from theory.l1.theorem3 import Certificate, certificate_files, load_certificate
from theory.l1.verification import Verification, read_record

__all__ = ["MARGIN", "spot_check", "table", "verify_files"]

MARGIN = 0.05
"""J is verified at this share below the file's, which leaves no margin, and lambda at 0.6 of it above."""
SAMPLE = 6
"""Boxes of states of each certificate that the quick check settles again."""
SMALL = 500
"""A certificate with at most that many boxes of states is settled whole by the quick check."""


def verify_files(
    paths: Sequence[Path] = (),
    margin: float = MARGIN,
    processes: int = 1,
    pool: Pool = ProcessPoolExecutor,
) -> bool:
    """Verify certificates, those that come with the package if none are given; whether all hold.

    Args:
        paths: of the files.
        margin: J is lowered by this share, and lambda raised by 0.6 of it; smaller takes more boxes.
        processes: at the same time.
        pool: of workers, from their number.
    """
    files = list(paths) or certificate_files()
    refused = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn()) as progress:
        for path in files:
            found = load_certificate(path, recorded=False)
            bar = progress.add_task(path.stem, total=None)
            numbers = round((1 + 0.6 * margin) * found.noise_weight, 12), round((1 - margin) * found.gain, 6)

            def show(done: int, total: int, bar: int = int(bar)) -> None:
                progress.update(bar, completed=done, total=total)  # type: ignore[arg-type]

            try:
                verify_file(path, *numbers, processes, show, pool)
            except RefusedError as error:
                refused.append(f"{path.stem}: {error}")
    print(table(files))
    for line in refused:
        print(line)
    return not refused


def table(paths: Sequence[Path]) -> str:
    """Lines of text: what is recorded of each file."""
    numbers = f"{'lambda':>8}  {'J':>8}  {'eta below':>9}  {'found':>6}"
    counts = f"{'boxes':>6}  {'items':>9}  {'leaves':>6}  {'CPU s':>6}"
    lines = [f"{'betas':13}{'kind':9}  {numbers}  {counts}  SHA-256"]
    for path in paths:
        found, record = load_certificate(path, recorded=False), read_record(path)
        start = f"{f'({found.beta1:g}, {found.beta2:g})':13}{found.kind:9}"
        lines.append(f"{start}  {_row(found, record)}")
    return "\n".join(lines)


def _row(found: Certificate, record: Verification | None) -> str:
    if record is None:
        return f"not verified: numerical, eta below {found.largest_eta:.4f}"
    numbers = (
        f"{record.noise_weight:8.4f}  {record.gain:8.4f}  {record.largest_eta:9.4f}  {found.largest_eta:6.3f}"
    )
    counts = f"{record.boxes:6}  {record.pairs:9}  {record.leaves:6}  {record.cpu_seconds:6.0f}"
    return f"{numbers}  {counts}  {record.sha256[:16]}"


def spot_check(seed: int | None = None) -> bool:
    """Settle again a random sample of each recorded certificate's boxes, and all of a small one.

    Args:
        seed: of the sample; a new one each time if None.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    generator = np.random.default_rng(seed)
    proven, holds = 0, True
    for path in certificate_files():
        certificate = load_certificate(path)
        if not certificate.proven:
            continue
        proven += 1
        try:
            boxes = cover(inequality := Inequality(certificate))
            if len(boxes.z1) <= SMALL:
                verify(certificate)
            else:
                verify_boxes(inequality, boxes.take(generator.choice(len(boxes.z1), SAMPLE, replace=False)))
        except RefusedError as error:
            holds = False
            console.print(f"certificate {path.stem}: {error}")
    again = "hold" if holds else "DO NOT HOLD"
    known = len(certificate_files())
    console.print(
        f"{proven} of {known} certificates are verified; {SAMPLE} random boxes of states of each {again} "
        "again, and all of those of small ones (all: adabatch prove certificates)"
    )
    return holds
