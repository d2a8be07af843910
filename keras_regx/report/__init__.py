"""Looking at a model: what its penalties cost, and what they have done."""

from keras_regx.report.measure import Report, report

__all__ = [
    "Report",
    "report",
]
