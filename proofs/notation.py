r"""Every symbol of the theory pages, from one source: ``notation.toml``.

Problem:
    A reader of a statement must know what each of its symbols means. The file has tables ``setting`` of the
    symbols that all proofs share, in an order in which each is explained by those before it, ``families`` of those
    that some proofs share, a table for each proof of the symbols that are its own, which go before the others, and
    a sentence for each :class:`~proofs.composition.Assumption`.

    A key is what is printed, in LaTeX; the value says what it means, and perhaps in which range. An index in a key
    (``G_k``, ``v_{k,i}``) stands for any index, and may be dropped where one step or one coordinate is meant;
    ``C_m`` and names with a word, a star or a sign below or above them (``\alpha^*``, ``S_+``) are what they are.

Algorithm:
    :func:`symbols_in` reads the symbols off LaTeX: letters with their accents and primes, and operators in roman
    type. :func:`undefined` are those of a proof that neither its own table, nor the setting, nor a definition
    printed with one of its relations explains.

Example:
    >>> symbols_in(r"\bar Q \le \frac{\Delta}{\alpha} + \sum_k E\|G_{k+1}\|_1 \text{ for all } x'")
    ('\\bar Q', '\\Delta', '\\alpha', 'k', 'E', 'G_{k+1}', "x'")
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from proofs.composition import Assumption
from proofs.definitions import definitions
from proofs.relations import written
from proofs.steps import Proof
from proofs.typesetting import typeset

__all__ = [
    "assumed",
    "assumption",
    "families",
    "family",
    "mentioned",
    "own",
    "setting",
    "symbols_in",
    "texts",
    "undefined",
    "unexplained",
    "unused",
]

_STRUCTURE = re.compile(
    r"frac|tfrac|dfrac|sqrt|sum|prod|int|left|right|bigl|bigr|Bigl|Bigr|Big|big|le|ge|leq|geq|ne|neq|lt|gt|to|in"
    r"|notin|infty|langle|rangle|dots|ldots|cdots|cdot|times|pm|mp|partial|forall|exists|quad|qquad|text|colon"
    r"|implies|iff|Rightarrow|mapsto|leftarrow|approx|equiv|propto|downarrow|uparrow|log|ln|exp|min|max|sup|inf|lim"
    r"|arctan|sinh|textstyle|displaystyle|limits|lVert|rVert|Vert|vert|wedge|vee|mid|sim|lceil|rceil|backslash"
    r"|nabla|mathbb|lfloor|rfloor|tan|sin|cos|ll|gg|circ"
)
"""Commands without a meaning of their own."""
_ACCENTS = "bar hat dot tilde widehat widetilde overline underline"
_ATOM = re.compile(
    r"\\(?:text|begin|end)\s*\{(?P<words>[^{}]*)\}"
    r"|\\(?P<roman>mathrm|operatorname)\s*\{(?P<name>[^{}]*)\}"
    r"|\\mathbb\s*(?:\{R\}|R)"
    r"|\\mathbb\s*\{?E\}?(?P<mean>)"
    r"|\\mathcal\s*\{(?P<script>\w)\}"
    rf"|\\(?P<accent>{_ACCENTS.replace(' ', '|')})(?![A-Za-z])\s*(?P<under>\{{[^{{}}]*\}}|\\[A-Za-z]+|[A-Za-z])"
    r"|(?P<lemma>\b[LMS]\d+(?![_\d\w]))"
    r"|\\(?P<command>[A-Za-z]+)"
    r"|(?P<wide>\b(?:hi|lo)\b)"
    r"|(?P<letter>[A-Za-z])"
)
_INDEX = r"_(?:\{(?P<braced>(?:[^{}]|\{[^{}]*\})*)\}|(?P<bare>\\mathrm\{\w+\}|\\[A-Za-z]+|\w|[+*-]))"
_NAMED = re.compile(r"_(?:\{(?:\\(?:mathrm|text|max|min).*|eff)\}|[+-]|\\phi|\\epsilon|\\infty)$|\^\*?[+*]?$")
FIXED = {"C_m", "s_t"}
"""Names whose letter below belongs to them."""


@cache
def _tables() -> Any:
    text = files("proofs").joinpath("notation.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def setting() -> dict[str, dict[str, str]]:
    """What all proofs share: by group, symbol and meaning."""
    return dict(_tables()["setting"])


def own(proof: str) -> dict[str, str]:
    """The symbols that a proof defines for itself."""
    return {key: text for key, text in _tables()["proofs"].get(proof, {}).items() if key not in ("of", "assumes")}


def assumed(proof: Proof) -> tuple[Assumption, ...]:
    """What a proof assumes: as its conclusions say, or as ``notation.toml`` does where they say nothing."""
    stated = {a for conclusion in proof.conclusions for a in conclusion.assumes}
    names = stated or _tables()["proofs"].get(proof.name, {}).get("assumes", ())
    return tuple(a for a in Assumption if a in names)


def family(proof: str) -> str:
    """The family whose symbols a proof uses, "" if none."""
    return str(_tables()["proofs"].get(proof, {}).get("of", ""))


def families() -> dict[str, dict[str, str]]:
    """Symbols that some proofs share, by family."""
    return dict(_tables()["families"])


def mentioned(proof: Proof) -> dict[str, str]:
    """The proof's own symbols that its statement uses, and those that their explanations use."""
    return _reached(proof.name, _formulas(proof.statement))


def _reached(name: str, latex: str) -> dict[str, str]:
    """A proof's own symbols that formulas use, and those that their explanations use, and so on."""
    found: dict[str, str] = {}
    while True:
        used = {_spelled(s) for s in symbols_in(" ".join((latex, *map(_formulas, found.values()))))}
        used |= {s for symbol in used for s in symbols_in(symbol[len(_base(symbol)) + 1 :])}
        bases = used | {_base(symbol) for symbol in used}
        more = {k: v for k, v in own(name).items() if {(s := _spelled(symbols_in(k)[0])), _base(s)} & bases}
        if more == found:
            return found
        found = more


def assumption(name: str) -> str:
    """An assumption in a sentence, by its short name.

    Raises:
        KeyError: where ``notation.toml`` has no sentence for it.
    """
    return str(_tables()["assumptions"][name])


def symbols_in(latex: str) -> tuple[str, ...]:
    """The symbols of a formula in LaTeX, each once, in order; an index is a part of its symbol."""
    return tuple(dict.fromkeys(_symbols(latex)))


def _symbols(latex: str) -> Iterator[str]:
    at = 0
    while found := _ATOM.search(latex, at):
        at = found.end()
        symbol = _symbol(found)
        if symbol is None:
            if found["words"]:
                yield from (s for part in re.findall(r"\$([^$]*)\$", found["words"]) for s in _symbols(part))
            continue
        primes = re.match(r"'+", latex[at:])
        if primes:
            symbol, at = symbol + primes.group(), at + primes.end()
        index = re.match(_INDEX, latex[at:])
        if index:
            inner = index["braced"] if index["braced"] is not None else index["bare"]
            at += index.end()
            yield f"{symbol}_{inner}" if len(inner) == 1 or index["braced"] is None else f"{symbol}_{{{inner}}}"
            continue
        if star := re.match(r"\^(\{\*\}|\*)", latex[at:]):
            symbol, at = f"{symbol}^*", at + star.end()
        yield symbol


def _symbol(found: re.Match[str]) -> str | None:
    """The symbol that a match begins with; None for words, structure and the names of lemmas."""
    if found["mean"] is not None:
        return "E"
    if found["script"]:
        return rf"\mathcal{{{found['script']}}}"
    if found["roman"]:
        return rf"\mathrm{{{found['name'].strip()}}}"
    if found["accent"]:
        return rf"\{found['accent']} {found['under'].strip('{}')}"
    if found["command"]:
        return None if _STRUCTURE.fullmatch(found["command"]) else rf"\{found['command']}"
    return found["letter"] or found["wide"]


def _spelled(symbol: str) -> str:
    """One spelling: no braces around a single sign, no spaces."""
    symbol = re.sub(r"_\{(\\?\w)\}", r"_\1", symbol.replace(r"\,", ""))
    symbol = re.sub(r"_(\\mathrm\{\w+\})$", r"_{\1}", symbol)
    return re.sub(r"\s+", " ", symbol).replace("{ ", "{")


def _base(symbol: str) -> str:
    return re.sub(_INDEX + "$", "", symbol)


@dataclass(frozen=True)
class Known:
    """What has been explained: symbols, and letters that may carry any index."""

    symbols: frozenset[str] = frozenset()
    indexed: frozenset[str] = frozenset()

    def with_keys(self, keys: Iterable[str]) -> Known:
        """These keys too."""
        found = {_spelled(symbol) for key in keys for symbol in symbols_in(key)[:1]}
        indexed = {_base(s) for s in found if _base(s) != s and s not in FIXED and not _NAMED.search(s)}
        return Known(self.symbols | found | indexed, self.indexed | indexed)

    def explains(self, symbol: str) -> bool:
        """Whether a symbol is known, or is a known sequence at known indices."""
        symbol = _spelled(symbol)
        base = _base(symbol)
        if symbol in self.symbols or base == symbol:
            return symbol in self.symbols
        inside = symbol[len(base) + 1 :].strip("{}")
        return base in self.indexed and all(map(self.explains, symbols_in(inside)))


@cache
def _known(proof: str) -> Known:
    shared = Known().with_keys(key for group in setting().values() for key in group)
    return shared.with_keys(families().get(family(proof), {})).with_keys(own(proof))


def _formulas(text: str) -> str:
    return " ".join(re.findall(r"\$([^$]*)\$", typeset(text)))


def texts(proof: Proof) -> list[tuple[str, str]]:
    """(where, formulas) of a proof, in the order in which they are printed."""
    found = [("the statement", _formulas(proof.statement))]
    for number, step in enumerate(proof.steps, 1):
        statement = _formulas(step.statement) if "$" in step.statement else step.statement
        facts = step.composition.facts if step.composition is not None else ()
        said = " ".join(fact.says for fact in facts)
        found.append((f"step {number}", f"{statement} {_formulas(step.reason)} {said}"))
    return found


def undefined(proof: Proof) -> list[str]:
    """For each symbol that nothing explains: which, where in the proof, and where to define it."""
    relations = (*(s.relation for s in proof.steps), *(c.relation for c in proof.conclusions))
    named = [name for relation in relations if relation is not None for name in relation.where]
    printed = map(written, (*named, *definitions(proof.steps)))
    known = _known(proof.name).with_keys(name for name in printed if len(symbols_in(name)) == 1)
    missing: dict[str, str] = {}
    for where, latex in texts(proof):
        for symbol in symbols_in(latex):
            if not known.explains(symbol):
                missing.setdefault(symbol, where)
    return [
        f"{symbol} in {where} of {proof.name!r} is not defined: define it in proofs/notation.toml, under "
        f'[proofs."{proof.name}"] or, if other proofs use it, under [setting]'
        for symbol, where in missing.items()
    ]


def unexplained() -> list[str]:
    """Symbols of the tables' own explanations that nothing before them explains."""
    lines: list[str] = []
    shared = Known()
    for group, entries in setting().items():
        shared = _in_order(f"setting, {group}", entries, shared, lines)
    of_family = {name: _in_order(f"families.{name}", table, shared, lines) for name, table in families().items()}
    for name in _tables()["proofs"]:
        _in_order(f"proofs, {name}", own(name), of_family.get(family(name), shared), lines)
    return lines


def _in_order(table: str, entries: Mapping[str, str], known: Known, lines: list[str]) -> Known:
    for key, meaning in entries.items():
        known = known.with_keys([key])
        missing = [symbol for symbol in symbols_in(_formulas(f"${key}$ {meaning}")) if not known.explains(symbol)]
        lines += [f"[{table}] {key}: {symbol} is not explained before" for symbol in missing]
    return known


def unused(proofs: Iterable[Proof]) -> list[str]:
    """Definitions that stand in the table of a proof that does not use them, or of no proof."""
    found = {proof.name: proof for proof in proofs}
    lines = [f"[proofs.{name!r}]: there is no such proof" for name in _tables()["proofs"] if name not in found]
    for name, proof in found.items():
        if any(c.assumes for c in proof.conclusions) and "assumes" in _tables()["proofs"].get(name, {}):
            lines.append(f"[proofs.{name!r}]: its conclusions say what it assumes: delete `assumes`")
        reached = _reached(name, " ".join(latex for _, latex in texts(proof)))
        lines += [
            f"{key} is defined for {name!r}, which does not use it" for key in own(name) if key not in reached
        ]
    return lines
