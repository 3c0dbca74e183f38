"""Answers "why do I not see version X": the way of a project through an index, in words and values.

Nothing is requested from an upstream: the report is made of what the index knows.
"""

from proxy.explain.hints import hints
from proxy.explain.report import FileReport, Question, Report, explain

__all__ = ["FileReport", "Question", "Report", "explain", "hints"]
