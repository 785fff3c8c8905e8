"""The report: one HTML page that needs nothing else, made from the JSON of an evaluation and from nothing but it."""

from curveroute.agent.evals.report.page import report_page

__all__ = ["report_page"]
