"""A hook of mkdocs: the pages that the repository already holds elsewhere, and one per public module.

README.md is the front page; files that pages link to outside ``docs/`` become pages that show them. Formulas
become MathML, so that no script draws them.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
import sys
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.modules.setdefault("pages", sys.modules[__name__])  # for docstrings.py, which griffe loads by its path
ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("adabatch", "theory", "proofs", "simulate")
COPIED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
COPIED |= {"SECURITY.md": "security.md"}
GUIDE = [
    {"Your own loop": "own_loop.md"},
    {"Data": "data.md"},
    {"Models and ranks": "models.md"},
    {"What would a run need?": "plans.md"},
    {"On a cluster": "clusters.md"},
    {"Reliability": "reliability.md"},
    {"Watching runs, judging models": "evaluation.md"},
    {"Which batch rule?": "batch_rules.md"},
    {"When the batch does not grow": "batch_growth.md"},
    {"Learning rate": "learning_rate.md"},
    {"Optimizers": "optimizers.md"},
    {"What would a schedule save?": "worth.md"},
    {"How large may the batch be?": "critical_batch.md"},
    {"Your own method": "own_method.md"},
    {"Terms": "glossary.md"},
]
RESULTS = [
    {"Does it pay?": "results.md"},
    {"All comparisons": "results/29k/comparison.md"},
    {"On other seeds": "results/29k-seeds/comparison.md"},
    {"On another corpus": "results/29k-site/comparison.md"},
    {"A larger model": "results/134k/comparison.md"},
    {"A million parameters": "results/1m/comparison.md"},
    {"eta and the test interval": "results/29k-eta/ablation.md"},
    {"eta in a larger model": "results/134k-eta/ablation.md"},
    {"All ablations": "results/ablation.md"},
    {"The critical batch, 29,000 parameters": "results/29k-branch/branch.md"},
    {"The same, the rate times k": "results/29k-branch/linear.md"},
    {"The same, the rate unchanged": "results/29k-branch/none.md"},
    {"The critical batch of the demo": "results/demo-branch/branch.md"},
    {"The demo, the rate times k": "results/demo-branch/linear.md"},
    {"The demo, the rate unchanged": "results/demo-branch/none.md"},
    {"The critical batch of the growing demo": "results/demo-grown-branch/branch.md"},
    {"Log": "log.md"},
]
THEORY = [
    {"Claims": "theory/claims.md"},
    {"The setting": "theory/setting.md"},
    {"Theorems": "theory/theorems.md"},
    {"Proofs": "theory/proofs.md"},
    {"Certificates": "theory/certificates.md"},
    {"Measured against the bounds": "verify_bounds.md"},
]
PROJECT = [
    {"Contributing": "contributing.md"},
    {"Changelog": "changelog.md"},
    {"Security": "security.md"},
    {"Releases": "release.md"},
]
log = logging.getLogger("mkdocs.hooks.pages")


@cache
def modules() -> dict[str, tuple[str, ...]]:
    """``__all__`` of every module that has one, in the order of folders, by the module's name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py"), key=in_order):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names = listed(ast.parse(path.read_text()))
            if names is not None or path.name == "__init__.py":
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = names or ()
    return found


def in_order(path: Path) -> tuple[Path, bool, str]:
    """A package before its modules, these by name."""
    return path.parent, path.name != "__init__.py", path.name


def listed(tree: ast.Module) -> tuple[str, ...] | None:
    """The names of ``__all__``; None without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__all__"]:
            return tuple(ast.literal_eval(node.value))
    return None


def page_of(module: str) -> str:
    """The path of a module's page."""
    folder = ROOT.joinpath(*module.split("."))
    return f"reference/{module.replace('.', '/')}" + ("/index.md" if folder.is_dir() else ".md")


def reference_page(module: str) -> str:
    """The Markdown of a module's page; of a package, names that its modules define are links to their entries."""
    names = modules()[module]
    source = ROOT.joinpath(*module.split("."))
    path = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
    own = set(defined(ast.parse(path.read_text())))
    members = [name for name in names if name in own]
    lines = [f"::: {module}", "    options:", f"      members: {members or 'false'}", ""]
    if links := [f"- [`{name}`][{module}.{name}]" for name in names if name not in own]:
        lines += ["## Names", "", *links, ""]
    below = [other for other in modules() if other.rpartition(".")[0] == module]
    if below:
        relative = [posixpath.relpath(page_of(other), posixpath.dirname(page_of(module))) for other in below]
        lines += ["## Modules", ""]
        lines += [f"- [`{name}`]({path}): {summary(name)}" for name, path in zip(below, relative, strict=True)]
    return "\n".join(lines) + "\n"


def summary(module: str) -> str:
    """The first sentence of a module's docstring."""
    source = ROOT.joinpath(*module.split("."))
    path = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", first).replace("<", "&lt;").replace("*", r"\*")


def defined(tree: ast.Module) -> list[str]:
    """The names that a module itself defines."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            targets = [inner for target in node.targets for inner in ast.walk(target)]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names


def tree_of(package: str) -> list[Any]:
    """A package's pages as mkdocs wants its navigation: its own first, then what is below."""
    entries: list[Any] = [page_of(package)]
    for module in modules():
        if module.rpartition(".")[0] == package:
            below = any(other.startswith(f"{module}.") for other in modules())
            name = module.rpartition(".")[2]
            entries.append({name: tree_of(module) if below else page_of(module)})
    return entries


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation, from what there is."""
    config.nav = [
        {"Home": "index.md"},
        {"Guide": GUIDE},
        {"Results": RESULTS},
        {"Theory": THEORY},
        {"Reference": [{package: tree_of(package)} for package in PACKAGES]},
        {"Project": PROJECT},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in ``docs/``."""
    for source, page in COPIED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for module in modules():
        files.append(File.generated(config, page_of(module), content=reference_page(module)))
    for path in sorted(linked()):
        files.append(File.generated(config, shown_at(path), content=shown(path)))
    return files


@cache
def linked() -> frozenset[str]:
    """Files of the repository, not in ``docs/``, to which a page links."""
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in COPIED)]
    targets = {
        posixpath.normpath(posixpath.join(page.parent.relative_to(ROOT).as_posix(), target))
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)[^)]*\)", page.read_text())
    }
    return frozenset(
        path for path in targets if not path.startswith("docs/") and path not in COPIED and (ROOT / path).is_file()
    )


def shown_at(path: str) -> str:
    """Where the site shows a file of the repository."""
    return f"files/{path}.md"


def shown(path: str) -> str:
    """A page with a file's contents."""
    language = {".py": "python", ".md": "markdown"}.get(Path(path).suffix, "text")
    text = (ROOT / path).read_text()
    return f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n````{language}\n{text}\n````\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the site: README's into ``docs/``, and those to files that pages show."""
    where = page.file.src_uri
    if where.startswith(("reference/", "files/")):
        return markdown
    source = next((name for name, copy in COPIED.items() if copy == where), f"docs/{where}")

    def on_the_site(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if target in COPIED:
            target = COPIED[target]
        elif target in linked():
            target = shown_at(target)
        else:
            target = target.removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(where) or '.')}{match[2] or ''})"

    return re.sub(r"\]\(([^)#:\s]+)(#[^)]*)?\)", on_the_site, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML."""
    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', mathml, html, flags=re.DOTALL)


def mathml(match: re.Match[str]) -> str:
    """One formula; one that cannot be drawn is an error of the build."""
    latex = unescape(match[3]).strip()
    try:
        return latex2mathml.converter.convert(latex, display="inline" if match[2] == "(" else "block")
    except Exception as error:
        log.warning("the formula %s cannot be drawn: %s: %s", latex, type(error).__name__, error)
        return match[0]
