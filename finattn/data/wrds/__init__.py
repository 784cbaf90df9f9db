"""CRSP and Compustat, as WRDS has them: `fetch` writes extracts of a server's tables, `load` makes a panel of extracts.

A `data` section (tables beside those of CRSP are needed for French's codes and for fundamentals)::

    source: wrds
    start: 1990-01-01
    end: 2023-12-31
    wrds:
      database: postgresql://USER@wrds-pgdata.wharton.upenn.edu:9737/wrds?sslmode=require
      extracts: wrds/
      layout: ciz
      frequency: monthly
      compustat: quarterly
      availability: rdq
      lag_months: 4
      items: [book_equity, leverage, rnd_to_assets]
"""

from finattn.data.wrds.database import Fetched, fetch
from finattn.data.wrds.source import load, load_wrds

__all__ = ["Fetched", "fetch", "load", "load_wrds"]
