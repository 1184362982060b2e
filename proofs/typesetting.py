r"""Plain words with formulas in them, as the code writes them, set in LaTeX for the pages.

Reasons of steps and claims are typed as one types mathematics: ``c g^2 / u_k <= ln(u_k)``. Runs of signs, single
letters and mathematical names are formulas; everything else is words.

Example:
    >>> print(typeset("so v_j >= c g_j^2, where sqrt(beta2) < 1; any n: the statement"))
    so $v_j \ge c g_j^{2}$, where $\sqrt{\beta_2} < 1$; any $n$: the statement
    >>> print(typeset("a sum of E||G_k||_1 over k in words, and $x^2$ as it is"))
    a sum of $E\|G_k\|_1$ over $k$ in words, and $x^2$ as it is
"""

from __future__ import annotations

import re

__all__ = ["breakable", "in_table", "latex_of", "typeset"]

_GREEK = "alpha beta gamma Gamma delta Delta epsilon zeta eta theta Theta kappa lambda Lambda mu nu xi pi rho "
_GREEK += "sigma chi Sigma tau phi varphi Phi psi Psi omega Omega"
_FUNCTIONS = "sum log ln exp min max sup inf sinh sqrt"
_NAMES = {name: rf"\{name}" for name in f"{_GREEK} {_FUNCTIONS}".split()}
_NAMES |= {name: rf"\mathrm{{{name}}}" for name in ("Var", "sd", "tr", "sgn", "ceil")}
_NAMES |= {"eps": r"\epsilon", "Sigma-hat": r"\hat\Sigma", "grad": r"\nabla", "oo": r"\infty", "vt": r"\tilde v"}
_NAMES |= {"om": r"\omega", "hi": "hi", "lo": "lo"}
_SIGNS = {"<=": r"\le", ">=": r"\ge", "->": r"\to", "||": r"\|", "-+": r"\mp", "..": r"\ldots ", "*": r"\cdot"}
_SIGNS |= {"{": r"\{", "}": r"\}", "⟨": r"\langle ", "⟩": r"\rangle", "√": r"\sqrt", "·": r"\cdot "}
_OPERATIONS = {"<=", ">=", "<", ">", "=", "->", "+", "-", "/", "^", "*", "-+", ":=", ".."}
_OPEN, _CLOSE = "([{⟨", ")]}⟩"

SEPARATORS = (
    r"(\\(?:left|right|langle|rangle|le|ge)(?![a-z])|[{}()\[\]]"
    r"|[=,]|(?<![{^_(])\+|(?<=[\w)}\]])-|(?<=[\w)}\]] )-)"
)
WIDE = 160
"""Characters of LaTeX from which on a formula is in parts that may stand on two lines."""

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<words>'s\b|(?:[Ll]emmas?|[Tt]heorems?|rule|Proposition|bound|step|Eq\.|part) [A-Z0-9(][\w.']*(?! [=<>])"
    r"|L\d(?:'(?!s))?(?:'s)?(?![_\w])|\(?[A-Z]\.\d\)?|[A-Za-z]{2,}'s\b|(?!Sigma)[A-Z]\w*-[a-z]+|l[12]\b|\d+\s*%|\d+(?:st|nd|rd|th)\b)"
    r"|(?P<math>Sigma-hat|[A-Za-z]+\d?~?(?:'(?!s\b))*(?:_\{[^}]*\}|_\w+|_[+-])?|(?:\d+)?\.?\d+(?:e-?\d+)?(?![A-Za-z]{2})"
    r"|<=|>=|->|\|\|(?:_\w+)?|-\+|:=|(?<=\d)\.\.(?=[\dK])|[-+/^=<>|(){}\[\]*⟨⟩])"
    r"|(?P<other>.)"
)
_PIECE = re.compile(r"«\w+»|Sigma-hat|[A-Za-z]+\d?~?|<=|>=|->|\|\||-\+|:=|\.\.|\s+|.")


def typeset(text: str) -> str:
    """The text with its formulas between dollar signs; what stands between dollar signs already stays."""
    parts = re.split(r"(\$[^$]*\$)", text)
    return "".join(part if part.startswith("$") else _with_formulas(part) for part in parts)


def breakable(text: str) -> str:
    r"""The text with wide formulas in parts: a line may end before a relation or the next term of a sum.

    >>> breakable("$x = " + " + ".join(["\\frac{a + b}{c}"] * 12) + "$").count("$ $")
    12
    """
    return re.sub(rf"\$([^$]{{{WIDE},}})\$", lambda found: f"${_parts(found[1])}$", text)


def _parts(formula: str) -> str:
    if r"\begin" in formula:
        return formula
    depth, parts = 0, [""]
    for piece in re.split(SEPARATORS, formula):
        depth += piece in ("{", "(", "[", r"\left", r"\langle")
        depth -= piece in ("}", ")", "]", r"\right", r"\rangle")
        if depth == 0 and piece in ("=", "+", "-", r"\le", r"\ge") and parts[-1].strip():
            parts.append(piece)
        else:
            parts[-1] += piece
            parts += [""] if depth == 0 and piece == "," else []
    return "$ $".join(part.strip() for part in parts if part.strip())


def in_table(text: str) -> str:
    """Markdown that may stand in a table's cell: no bar ends the cell."""
    bars = text.replace(r"\|", r"\Vert ").replace("|", r"\vert ").replace("\n", " ")
    return re.sub(r"(\\[Vv]ert) (?![A-Za-z])", r"\1", bars)


def _with_formulas(text: str) -> str:
    text = re.sub(r"<([A-Za-z_\d]+), ([^<>]+)>", r"⟨\1, \2⟩", text)  # an inner product
    found = [(match.lastgroup or "", match.group()) for match in _TOKEN.finditer(text)]
    done, run, depth = "", "", 0
    for k, (kind, token) in enumerate(found):
        formula = kind == "math" and _is_math(token, found, k, depth)
        if formula or (run and (kind == "space" or (depth > 0 and token in ",."))):
            run += token
            depth += (token in _OPEN) - (token in _CLOSE)
        else:
            done += _formula(run) + token
            run, depth = "", 0
    return done + _formula(run)


def _is_math(token: str, found: list[tuple[str, str]], k: int, depth: int) -> bool:
    """Signs, numbers, single letters and names that stand for something; an article or "sum" may be a word."""
    name = re.sub(r"[\d~']*(_.*)?$", "", token)
    before = [t for kind, t in found[:k] if kind != "space"][-1:]
    after = [t for kind, t in found[k + 1 :] if kind != "space"][:1]
    if token in ("a", "I") or (token == "A" and before in ([], ["."])):
        return any(t in _OPERATIONS for t in before + after)
    if token == "sum":
        return depth > 0 or any(t in _OPERATIONS for t in before)
    return not name.isalpha() or len(name) == 1 or name in _NAMES


def _formula(run: str) -> str:
    """A run of mathematical tokens between dollar signs, without the brackets of the words around it."""
    for found in re.finditer(r"(?<=[\w)\]+]) (?=\()", run):
        group = run[found.end() : found.end() + _closes(run[found.end() :])]
        if _balance(run[found.end() :]) > 0 or re.search(r"[<>=]", group):  # the bracket belongs to the words
            return _formula(run[: found.start()]) + " " + _formula(run[found.end() :])
    core, before, after = run, "", ""
    while core and (
        core[0] in " )]},⟩" or (core[0] in "([" and _balance(core) > 0) or re.match(r"\.(?!\d)", core)
    ):
        before, core = before + core[0], core[1:]
    while core and (core[-1] in " ([{,.-" or (core[-1] in ")]" and _balance(core) < 0)):
        core, after = core[:-1], core[-1] + after
    if core.startswith("(") and _closes(core) == len(core) - 1 and not before:
        before, core, after = before + "(", core[1:-1], ")" + after
    if not re.search(r"[A-Za-z=<>^]|\d/\d|\[", core):  # numbers alone are words
        return before + core + after
    return f"{before}${latex_of(core)}${after}"


def _balance(text: str) -> int:
    return sum((c in _OPEN) - (c in _CLOSE) for c in text)


def _closes(text: str) -> int:
    """Where the bracket that opens a text is closed; its length if it is not."""
    depth = 0
    for k, c in enumerate(text):
        depth += (c in _OPEN) - (c in _CLOSE)
        if depth == 0:
            return k
    return len(text)


def latex_of(formula: str) -> str:
    r"""A formula as it is typed, in LaTeX.

    >>> print(latex_of("sqrt(c sum_k beta2^(k-1) x) <= (1 - q)^{-1}"))
    \sqrt{c \sum_k \beta_2^{k-1} x} \le (1 - q)^{-1}
    """
    text = formula
    while (at := text.find("sqrt(")) >= 0:
        end = at + 4 + _closes(text[at + 4 :])
        text = f"{text[:at]}√{{{text[at + 5 : end]}}}{text[end + 1 :]}"
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    text = re.sub(r"\^(-\d+/\d+|-?[\d.]+|-[a-z])", r"^{\1}", text)
    text = re.sub(r"(?<=\d)e(-?\d+)", r"·10^{\1}", text)
    text = re.sub(r"_([A-Za-z]{2,}|\d\d+)", r"_«\1»", text)
    text = re.sub(r"(\w)\*(?=\s|$|[),;])", r"\1^{∗}", text)
    out: list[str] = []
    groups: list[bool] = []
    for piece in _PIECE.findall(text):
        if piece == "{":
            groups.append((bool(out) and out[-1][-1:] in ("^", "_")) or out[-1:] == [r"\sqrt"])
            out.append("{" if groups[-1] else r"\{")
        elif piece == "}":
            out.append("}" if groups and groups.pop() else r"\}")
        else:
            out.append(_set(piece))
    return "".join(out).strip()


def _set(piece: str) -> str:
    """One sign, name or number."""
    if piece in _SIGNS:
        return _SIGNS[piece]
    if match := re.fullmatch(r"«(\w+)»", piece):
        return "{" + (_NAMES[match[1]] if match[1] in _NAMES else rf"\mathrm{{{match[1]}}}") + "}"
    if match := re.fullmatch(r"([A-Za-z-]+)(\d?)(~?)", piece):
        name, digit, tilde = match.groups()
        letter = _NAMES.get(name, name)
        return (rf"\tilde {letter}" if tilde else letter) + (f"_{digit}" if digit else "")
    return piece.replace("∗", "*")
