r"""The statement of a theorem as a report shows it: the sections of its module's docstring, with signs for words.

Nobody retypes a statement: what is shown is what :mod:`theory` says of itself.

Example:
    >>> shown = statement("theory.adam.theorem1")
    >>> shown.title, [section.name.split()[0] for section in shown.sections]
    ('Adam under the coordinate-wise norm test: the corrected Theorem 1', ['Problem', 'Algorithm', 'Guarantee'])
    >>> typeset("(1) eta^2 < 1 - beta1 / sqrt(beta2)")
    Markup('(1) η<sup>2</sup> &lt; 1 − β<sub>1</sub> / √(β<sub>2</sub>)')
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from markupsafe import Markup, escape

__all__ = ["Section", "Statement", "documentation", "statement", "typeset"]

SHOWN = ("Problem", "Algorithm", "Guarantee")
"""Sections of the docstring that make the statement; references, proofs and examples are left to the page."""

CLONE = Path(__file__).resolve().parent.parent.parent
PAGES = ("build/site/reference/{page}/index.html", "docs/theory/theorems.md")
"""Where a clone documents a theorem: on its page of the site, where that is built, else among all of them."""

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eps": "ε", "eta": "η", "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "omega": "ω", "phi": "φ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "Gamma": "Γ", "Delta": "Δ", "Lambda": "Λ", "Sigma": "Σ",
}  # fmt: skip
WORDS = GREEK | {"sqrt": "√", "grad": "∇", "oo": "∞"}
OVER = {"sum": "Σ", "prod": "Π", "int": "∫"}
"""Words of English too: signs where a range follows, as in sum_k."""
SIGNS = {"&lt;=": "≤", "&gt;=": "≥", "-&gt;": "→", "=&gt;": "⇒", "||": "‖", " - ": " − ", " +- ": " ± "}
_WORD = re.compile(rf"(?<![A-Za-z])(?:({'|'.join(WORDS)})(?![A-Za-z])|({'|'.join(OVER)})(?=_))")
_RAISED = re.compile(r"([_^])(?:\{([^{}]*)\}|\(([\w /+−-]+)\)|(-?(?:\d+/\d+|[\w∞]+)))")


@dataclass(frozen=True)
class Section:
    """A part of a statement.

    Attributes:
        name: Problem, Algorithm or Guarantee, with what the docstring adds to it.
        paragraphs: typeset, each after its kind: ``text``, ``formula`` or ``table``.
    """

    name: str
    paragraphs: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True)
class Statement:
    """A theorem as its module states it.

    Attributes:
        module: its name.
        title: the first sentence of the docstring.
        sections: problem, algorithm and guarantee, where the docstring has them.
    """

    module: str
    title: str
    sections: tuple[Section, ...]


def statement(module: str) -> Statement:
    """What a module of :mod:`theory` states; the module is read, not run.

    Raises:
        ValueError: for a module without a guarantee in its docstring.
    """
    spec = find_spec(module)
    text = (
        ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) if spec and spec.origin else ""
    )
    parts = re.split(r"\n+^(?=[A-Z][^\n]*:$)", text or "", flags=re.MULTILINE)
    sections = tuple(_section(part) for part in parts[1:] if part.startswith(SHOWN))
    if not any(section.name.startswith("Guarantee") for section in sections):
        raise ValueError(f"{module} states no guarantee: its docstring has no section of that name")
    return Statement(module, " ".join(parts[0].split("\n\n")[0].split()).rstrip("."), sections)


def _section(text: str) -> Section:
    head, _, body = text.partition("\n")
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(body))
    return Section(head.rstrip(":"), tuple(_paragraphs(paragraphs)))


def _paragraphs(paragraphs: list[str]) -> Iterator[tuple[str, Markup]]:
    """Typeset, up to the proof, if there is one."""
    for paragraph in paragraphs:
        if paragraph.startswith("Proof."):
            return
        for item in re.split(r"\n(?=- |\(\d\) )", paragraph):
            if "\n===" in item:  # kept as it is aligned
                yield "table", escape(textwrap.dedent(item))
            elif item.startswith("(") or any(line.startswith("    ") for line in item.splitlines()):
                yield "formula", typeset(textwrap.dedent(item))
            else:
                yield "text", typeset(" ".join(item.split()))


def typeset(text: str) -> Markup:
    """Plain text with the signs that stand for its words, raised and lowered parts, and names of code as code."""
    parts = re.split(r"(:\w+:`~?[^`]+`|``[^`]+``|\*\*[^*]+\*\*|(?<![\w*])\*\w[\w ]*\w\*)", text)
    return Markup("").join(_marked(part) if i % 2 else _formula(part) for i, part in enumerate(parts))


def _marked(text: str) -> Markup:
    """A role or a literal as code, emphasis as emphasis."""
    if text.startswith("*"):
        return Markup("<b>{}</b>" if text.startswith("**") else "<i>{}</i>").format(text.strip("*"))
    return Markup("<code>{}</code>").format(text.partition("`")[2].strip("`~"))


def _formula(text: str) -> Markup:
    marked = str(escape(text))
    for sign, better in SIGNS.items():
        marked = marked.replace(sign, better)
    marked = _WORD.sub(lambda word: (WORDS | OVER)[word[0]], marked)
    marked = re.sub(r"β([12])", r"β<sub>\1</sub>", marked)
    marked = _RAISED.sub(_raised, marked)
    return Markup(marked)


def _raised(match: re.Match[str]) -> str:
    tag = "sub" if match[1] == "_" else "sup"
    return f"<{tag}>{match[2] or match[3] or match[4]}</{tag}>"


def documentation(module: str, folder: Path) -> str | None:
    """The address of a theorem's documentation from a folder: every link of a report to the docs is made here.

    Returns:
        A relative address; None where adabatch is installed without its documentation.
    """
    for page in PAGES:
        file = CLONE / page.format(page=module.replace(".", "/"))
        if file.is_file():
            return Path(os.path.relpath(file, folder.resolve())).as_posix()
    return None
