"""The record of each certificate's verification: largest eta, boxes, time, hash.

$ adabatch prove certificates  # some with --margin 0.015 to 0.04
$ python benchmarks/certificates.py > benchmarks/certificates.txt
"""

from __future__ import annotations

from proofs.certificates.report import table
from theory.l1.theorem3 import certificate_files


def main() -> None:
    print("# adabatch prove certificates (--margin 0.015 to 0.04 for some) && python benchmarks/certificates.py")
    print("# eta below: with the verified lambda and J; found: with those of the file; items: refined boxes of")
    print("# states and laws; leaves: those confirmed in ball arithmetic; CPU s: of all processes together")
    print(table(certificate_files()))


if __name__ == "__main__":
    main()
