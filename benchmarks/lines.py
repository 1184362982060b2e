"""Lines of the product by package: code, docstrings, comments and blank lines counted apart.

    python benchmarks/lines.py [REVISION]

counts the Python files of ``adabatch``, ``theory``, ``simulate``, ``proofs`` and ``cli.py`` that git tracks, as
they are in the working tree or at a revision.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

PACKAGES = ("adabatch", "theory", "simulate", "proofs", "cli.py")
KINDS = ("code", "docstrings", "comments", "blank")


def kinds_of_lines(source: str) -> Counter[str]:
    """The number of lines of each kind in a file; a line with code and a comment is code."""
    lines = source.splitlines()
    kinds = ["blank" if not line.strip() else "code" for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line.strip().startswith("#"):
            kinds[token.start[0] - 1] = "comments"
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", [])
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str):
                for number in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
                    kinds[number - 1] = "docstrings"
    return Counter(kinds)


def sources(package: str, revision: str | None) -> list[str]:
    """The Python files of a package, as text."""
    listing = (
        ["git", "ls-files", package] if revision is None else ["git", "ls-tree", "-r", "--name-only", revision]
    )
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
    chosen = [
        name for name in names if name.endswith(".py") and (name == package or name.startswith(package + "/"))
    ]
    if revision is None:
        return [Path(name).read_text(encoding="utf-8") for name in chosen if Path(name).exists()]
    show = ["git", "show"]
    return [
        subprocess.run([*show, f"{revision}:{name}"], check=True, capture_output=True, text=True).stdout
        for name in chosen
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", help="a git revision; the working tree if none")
    revision = parser.parse_args().revision
    print(f"python benchmarks/lines.py {revision or ''}".rstrip())
    print(f"{'package':<10}" + "".join(f"{kind:>12}" for kind in KINDS) + f"{'all':>9}")
    total: Counter[str] = Counter()
    for package in PACKAGES:
        counted = sum((kinds_of_lines(source) for source in sources(package, revision)), Counter[str]())
        total += counted
        print(f"{package:<10}" + "".join(f"{counted[kind]:>12,}" for kind in KINDS) + f"{counted.total():>9,}")
    print(f"{'all':<10}" + "".join(f"{total[kind]:>12,}" for kind in KINDS) + f"{total.total():>9,}")


if __name__ == "__main__":
    main()
