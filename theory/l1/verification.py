r"""What has been verified of a certificate, as recorded next to its file.

Problem:
    A certificate's inequality (:mod:`theory.l1.theorem3`) is found numerically. :mod:`proofs.certificates.verify`
    verifies it with directed rounding for all states and laws, perhaps with a larger lambda or a smaller J than
    those of the file: neither changes the potential. That takes minutes, so the result is recorded.

Algorithm:
    The record of ``name.npz`` is ``name.json`` next to it. It holds the SHA-256 of the file that was verified: a
    file that has changed since has no valid record.

Example:
    >>> from importlib.resources import files
    >>> path = Path(str(files("theory.l1") / "certificates" / "beta1_0_beta2_0.95_lambda_1.2.npz"))
    >>> record = read_record(path)
    >>> record is not None and record.largest_eta > 0.5
    True
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from adabatch.moments.hypotheses import require

__all__ = ["Verification", "file_hash", "read_record", "record_path"]


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        sha256: of the certificate's file.
        noise_weight: lambda, at least the file's.
        gain: J, at most the file's.
        largest_eta: J / lambda, or its root for the kind variance.
        boxes: boxes of states that were settled.
        pairs: boxes of states and laws that had to be refined.
        leaves: settled ones that a second program confirmed in ball arithmetic.
        cpu_seconds: CPU time.
    """

    sha256: str
    noise_weight: float
    gain: float
    largest_eta: float
    boxes: int
    pairs: int
    leaves: int
    cpu_seconds: float

    def text(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record_path(path: Path) -> Path:
    """Where the record of a certificate's file is."""
    return path.with_suffix(".json")


def read_record(path: Path) -> Verification | None:
    """The record of a certificate's file, None if it has none.

    Raises:
        HypothesisError: if the file is not the one that was verified.
    """
    place = record_path(path)
    if not place.is_file():
        return None
    record = Verification(**json.loads(place.read_text(encoding="utf-8")))
    found = file_hash(path)
    advice = f"verify it again with adabatch prove certificates, or delete {place.name}"
    given = f"{path.name} has SHA-256 {found[:12]}"
    require(found == record.sha256, f"the file that was verified, {record.sha256[:12]}", given, advice)
    return record
