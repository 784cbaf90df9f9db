"""Fundamentals and SIC codes from the Financial Statement Data Sets of the US Securities and Exchange Commission."""

from finattn.data.sec.download import Fetched, fetch
from finattn.data.sec.figures import CHARACTERISTICS
from finattn.data.sec.filings import attach, industries, reports
from finattn.data.sec.invariants import check
from finattn.data.sec.tags import tag_table

__all__ = ["CHARACTERISTICS", "Fetched", "attach", "check", "fetch", "industries", "reports", "tag_table"]
