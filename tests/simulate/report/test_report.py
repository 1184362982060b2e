"""The report: valid JSON, and a page that needs nothing but itself and opens in a browser."""

import base64
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from simulate.experiments.result import Result, Table
from simulate.outcomes import Assertion, Expectation, Kind, Outcome
from simulate.rates import Slope
from simulate.report.contents import Report, software_versions
from simulate.report.figures import FIGURES, save_figures
from simulate.report.html import html_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)

TRUE, FALSE = Assertion("a <b>bold</b> case", 1.0, "<=", 2.0), Assertion("another case", 3.0, "<=", 2.0)


def _result(asserted=(TRUE,)):
    outcomes = (
        Outcome(
            "Theorem",
            "it holds",
            asserted,
            kind=Kind.TIGHT,
            slope=Slope(-0.5, -0.6, -0.4),
        ),
        Outcome("Misprint", "it stands", (FALSE,), Expectation.REFUTED, (TRUE,), note="note & more"),
        Outcome("Control", "it stands", (FALSE,), Expectation.CONTROL),
    )
    rows = [
        {"test": t, "batch_size": 2, "step": k, "a_dot_w": math.nan if k == 2 else 1.0 * k}
        for t in ("scalar", "l1")
        for k in range(40)
    ]
    return Result(
        "scalar-test",
        "A title",
        "Summary <script>alert(1)</script>",
        outcomes,
        {"scalar_test": Table.of_rows(rows)},
        theorems=STATED,
    )


STATED = ("theory.adam.theorem1", "theory.other_optimizers.sgd")


def _report(*results):
    chosen = results or (_result(),)
    settings = {"level": "quick", "seed": 0, "objectives": (), "beta1": None}
    return Report("adabatch verify-bounds --quick", settings, chosen, {r.name: 1.25 for r in chosen}, "2025-01-01")


def _page(tmp_path, *results, comparison=None):
    report = _report(*results)
    tables = {name: table for result in report.results for name, table in result.tables.items()}
    captions = {name: recipe.caption for name, recipe in FIGURES.items()}
    return html_report(report, save_figures(tables, tmp_path / "figures"), captions, tmp_path, comparison)


class _Tags(HTMLParser):
    """Start tags with attributes, the text, and whether tags are balanced."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.open, self.balanced = [], [], [], True

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.balanced &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _parsed(page):
    parser = _Tags()
    parser.feed(page)
    return parser


def test_report_passes_only_if_all_verdicts_do():
    assert _report().passed
    assert not _report(_result(asserted=(FALSE,))).passed
    assert not _report(Result("empty", "", "", ())).passed


def test_json_is_standard_and_complete():
    broken = Outcome("Broken", "it holds", (Assertion("case", math.nan, "<=", math.inf),))
    result = Result("scalar-test", "t", "s", (*_result().outcomes, broken))
    text = _report(result).to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    record = json.loads(text)
    assert record["passed"] is False
    outcomes = record["experiments"][0]["verdicts"]
    assert [v["outcome"] for v in outcomes] == ["holds", "refuted", "caught", "FAILED"]
    assert outcomes[-1]["measured"] is None
    assert record["versions"]["numpy"].count(".") >= 1
    assert set(software_versions()) == {"Python", "adabatch", "numpy", "scipy", "matplotlib"}


def test_page_is_well_formed_and_asks_for_nothing(tmp_path):
    page = _page(tmp_path)
    parsed = _parsed(page)
    assert parsed.balanced
    assert not parsed.open
    assert "script" not in [tag for tag, _ in parsed.tags]
    sources = [attributes[key] for _, attributes in parsed.tags for key in ("src", "srcset") if key in attributes]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    links = [attributes["href"] for tag, attributes in parsed.tags if "href" in attributes and tag == "a"]
    assert not [tag for tag, attributes in parsed.tags if "href" in attributes and tag != "a"]
    places = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    assert {link[1:] for link in links if link.startswith("#")} == places - {"contents"} - set(STATED)
    assert all((tmp_path / link).is_file() for link in links if not link.startswith("#"))
    assert sum(not link.startswith("#") for link in links) == len(STATED)
    assert not re.search(r"url\(|@import|https?://", page)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in parsed.tags


def test_page_holds_figures_verdicts_and_how_to_run_it_again(tmp_path):
    page = _page(tmp_path)
    text = " ".join(_parsed(page).text)
    for needed in (
        "All 3 verdicts came out as they should.",
        "What should hold",
        "What should be refuted",
        "Negative controls, which must fail",
        "-0.50 [-0.60, -0.40]",
        "note & more",
        "<script>alert(1)</script>",  # as text, not as a tag
        "a <b>bold</b> case",
        "adabatch verify-bounds --quick",
        "the first 30 of 80 rows",
        FIGURES["scalar_test"].caption,
        "Adam under the coordinate-wise norm test: the corrected Theorem 1",
        "So the average gradient norm is O(K",
        f"numpy {software_versions()['numpy']}",
    ):
        assert needed in text, needed
    image = re.search(r'base64,([^"]+)"', page)
    assert image
    assert base64.b64decode(image[1]) == (tmp_path / "figures" / "scalar_test.png").read_bytes()


def test_a_statement_is_shown_once_and_named_where_it_is_used_again(tmp_path):
    page = _page(tmp_path, _result(), replace(_result(), name="again"))
    assert page.count("So the average gradient norm is O(K") == 1
    assert '<a href="#theory.adam.theorem1">Adam under' in page


def test_single_figures_are_a_column_wide(tmp_path):
    rows = [{"clipped": c, "seed": 0, "step": k, "a_dot_w": 1.0 * k} for c in (True, False) for k in range(3)]
    page = _page(tmp_path, replace(_result(), tables={"clipping": Table.of_rows(rows)}))
    assert page.count('<figure class="single">') == 1
    assert '<figure class="single">' not in _page(tmp_path)


def test_a_verdict_alone_is_singular(tmp_path):
    alone = replace(_result(), outcomes=_result().outcomes[:1])
    assert "The one verdict came out as it should." in _page(tmp_path, alone)
    assert _report(replace(alone, outcomes=())).conclusion == "0 of 0 verdicts did not."


def test_page_of_a_failed_run_says_so(tmp_path):
    page = _page(tmp_path, _result(asserted=(FALSE,)))
    assert "1 of 3 verdicts did not." in page
    assert '<td class="bad">FAILED</td>' in page
    assert "came out as they should" not in page


@pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed (looked for {', '.join(BROWSERS)})")
def test_page_opens_in_a_browser(tmp_path):
    (tmp_path / "report.html").write_text(_page(tmp_path))
    address = (tmp_path / "report.html").as_uri()
    text = _browse(tmp_path / "one", "--dump-dom", address).stdout
    rendered = _parsed(text)
    assert sum(tag == "img" for tag, _ in rendered.tags) == 1
    assert "All 3 verdicts came out as they should." in " ".join(rendered.text)
    picture = tmp_path / "phone.png"
    _browse(tmp_path / "two", "--window-size=500,1200", f"--screenshot={picture}", address)
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (1200, 500)
    assert 0.005 < (pixels.min(axis=-1) < 0.9).mean() < 0.5  # ink on a light page, neither blank nor black


def _browse(profile, *arguments):
    """Run the browser without a window, on a profile of its own."""
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    command = [BROWSER, *options, *quiet, f"--user-data-dir={profile}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result
