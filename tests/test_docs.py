"""The documentation site: strict, whole, and without anything from another server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra [docs]")

ROOT = Path(__file__).parent.parent
OTHER_SERVER = re.compile(
    r"""(?:<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?|url\(["']?|@import\s+["']?)https?://"""
)


def build(configuration: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    return subprocess.run(
        [*command, "--config-file", str(configuration)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site that ADABATCH_SITE names, which CI has just built; else one built here."""
    if "ADABATCH_SITE" in os.environ:
        return Path(os.environ["ADABATCH_SITE"])
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def inventory(folder: Path) -> set[str]:
    """Every name that the site has an entry for."""
    packed = (folder / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}


def public_names() -> set[str]:
    """``__all__`` of every module of the four packages, as Python finds it."""
    import ast

    names = set()
    for package in ("adabatch", "theory", "proofs", "simulate"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                    names |= {f"{module}.{name}" for name in ast.literal_eval(node.value)}
    return names


@pytest.mark.slow
def test_every_public_name_has_an_entry(site):
    assert len(public_names()) > 500
    assert sorted(public_names() - inventory(site)) == []


@pytest.mark.slow
def test_entries_have_signatures_and_examples(site):
    page = (site / "reference/adabatch/schedules/norm_tests/index.html").read_text()
    entry = page[page.index('id="adabatch.schedules.norm_tests.NormTest"') :]
    text = re.sub("<[^>]+>", "", entry)
    assert "eta: float" in text
    assert "Parameters:" in text
    assert "schedule.update(moments)" in text
    assert "&gt;&gt;&gt;" in text
    assert ":class:" not in text


@pytest.mark.slow
def test_nothing_comes_from_another_server(site):
    files = [path for path in site.rglob("*") if path.suffix in {".html", ".css"}]
    assert len(files) > 200
    found = {path.name: match.group() for path in files if (match := OTHER_SERVER.search(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        '<script src="https://cdn.example.org/MathJax.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example.org/css?family=Roboto">',
        "src: url(https://fonts.example.org/a.woff2)",
    ],
)
def test_what_would_come_from_another_server_is_found(line):
    assert OTHER_SERVER.search(line)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["claims", "setting", "theorems", "proofs"])
def test_formulas_are_drawn_without_a_script(site, name):
    page = (site / "theory" / name / "index.html").read_text()
    assert page.count("<math") > 100
    assert "arithmatex" not in page


@pytest.mark.slow
def test_a_link_to_nothing_stops_the_build(tmp_path):
    """mkdocs alone, on two pages: that ``strict`` and the link checks of mkdocs.yml do stop it."""
    import yaml

    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    kept = {name: settings[name] for name in ("site_name", "strict", "validation")}
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(kept))
    (tmp_path / "docs" / "index.md").write_text("[there](other.md)\n")
    (tmp_path / "docs" / "other.md").write_text("# There\n")
    assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode == 0
    (tmp_path / "docs" / "index.md").write_text("[there](other.md#nowhere)\n")
    assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode != 0


def test_formulas_that_cannot_be_drawn_are_reported(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "building"))
    import pages

    html = r'<p><span class="arithmatex">\(\eta^2 \lt 1\)</span></p>'
    assert "<math" in pages.on_page_content(html, None, None, None)
    warnings = []
    monkeypatch.setattr(pages.log, "warning", lambda message, *values: warnings.append(message % values))
    broken = r'<p><span class="arithmatex">\(\left(1\)</span></p>'
    pages.on_page_content(broken, None, None, None)
    assert "cannot be drawn" in warnings[0]


def test_docstrings_as_markdown(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "building"))
    import docstrings
    import pages  # noqa: F401

    text = docstrings.as_markdown(
        "See :func:`~adabatch.files.nothing`.\n\n>>> 1 < 2\nTrue\n\n<g, G> >= 0", "theory"
    )
    assert text == "See `nothing`.\n\n\n```pycon\n>>> 1 < 2\nTrue\n```\n\n&lt;g, G> >= 0"
    kept = docstrings.as_markdown("Example:\n    >>> 1 < 2\n    True\n", "theory")
    assert kept == "Examples:\n    >>> 1 < 2\n    True"


PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.read_text().count("\n## ") >= 5]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_long_pages_have_contents(page):
    """A list of links to every section, before the first one."""
    text = page.read_text()
    top = text[: text.index("\n## ")]
    linked = re.findall(r"^\s*- \[([^\]]+)\]\(#([^)]+)\)", top, flags=re.MULTILINE)
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert [name for name, _ in linked] == headings
    assert [anchor for _, anchor in linked] == [slug(heading) for heading in headings]


def slug(heading: str) -> str:
    """The anchor of a heading, the same on the site and in a repository's view."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
