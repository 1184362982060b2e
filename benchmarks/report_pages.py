"""A report of verify-bounds as it looks at 800 and 1,400 pixels and as PDF, in one small picture.

    python benchmarks/report_pages.py runs/verify-bounds docs/figures/report.png

Needs chromium and pdftoppm (poppler). Left the top at 800 pixels, in the middle the first figures at 1,400, right
the first four pages of the PDF.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HEIGHT = 2400
FIGURES_FROM = 0.21
"""Of the page at 1,400 pixels, behind the table of verdicts."""


def chromium(page: Path, *options: str) -> None:
    """Open the page without a window."""
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    subprocess.run(["chromium", *common, *options, page.resolve().as_uri()], check=True, capture_output=True)


def main(report: str, output: str) -> None:
    """Take the pictures, and put them next to each other."""
    page = Path(report) / "report.html"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for width in (800, 1400):
            chromium(page, f"--window-size={width},30000", f"--screenshot={folder / f'{width}.png'}")
        chromium(page, f"--print-to-pdf={folder / 'report.pdf'}", "--no-pdf-header-footer")
        subprocess.run(
            ["pdftoppm", "-r", "60", "-png", "-l", "4", folder / "report.pdf", folder / "page"], check=True
        )
        narrow, wide = (Image.open(folder / f"{width}.png").convert("RGB") for width in (800, 1400))
        pages = [Image.open(path).convert("RGB") for path in sorted(folder.glob("page*.png"))]
    top = round(FIGURES_FROM * wide.height)
    shots = [
        narrow.crop((0, 0, 800, HEIGHT)).resize((600, HEIGHT * 3 // 4)),
        wide.crop((0, top, 1400, top + HEIGHT)).resize((1050, HEIGHT * 3 // 4)),
    ]
    width, height = pages[0].size
    sheet = Image.new("RGB", (1650 + 60 + 2 * width + 20, HEIGHT * 3 // 4), "#888")
    sheet.paste(shots[0], (0, 0))
    sheet.paste(shots[1], (630, 0))
    for number, shown in enumerate(pages[:4]):
        sheet.paste(shown, (1710 + number % 2 * (width + 10), number // 2 * (height + 10)))
    sheet.quantize(128).save(output, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
