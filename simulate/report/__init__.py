"""The report of ``verify-bounds``: one record of everything, as JSON and as a page that opens in a browser."""

from simulate.report.contents import Report, software_versions
from simulate.report.html import html_report

__all__ = ["Report", "html_report", "software_versions"]
