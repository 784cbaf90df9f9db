"""The real sample that ships with a dependency: 20 S&P 500 stocks, daily, 1990 to 2022."""

import io
from importlib import resources

import numpy as np
import pandas as pd

from finattn.panel import Panel


def sample() -> Panel:
    """Return 20 large US stocks, daily from 1990-01-03 to 2022-12-28, from `skfolio.datasets.load_sp500_dataset`.

    Returns are simple, close to close, from prices adjusted for splits and dividends. The 20 are firms that were still
    in the index in 2022: survivors. SIC codes are present-day ones, held constant (`industry_as_of` is False).

    Examples
    --------
    >>> panel = sample()
    >>> panel.shape, str(panel.dates[0]), int(panel.industry[0, 0])
    ((8312, 20), '1990-01-03', 3571)
    """
    from skfolio.datasets import load_sp500_dataset  # takes two seconds to import

    prices = load_sp500_dataset()
    table = (resources.files("finattn") / "tables" / "sp500_sic.csv").read_text(encoding="utf-8")
    codes = pd.read_csv(io.StringIO(table)).set_index("firm")
    firms = prices.columns.astype(str)
    returns = prices.to_numpy()[1:] / prices.to_numpy()[:-1] - 1
    codes = codes.loc[firms]
    return Panel(
        dates=prices.index.to_numpy()[1:].astype("datetime64[D]"),
        firms=firms.to_numpy(str),
        returns=returns,
        industry=np.broadcast_to(codes["sic"].to_numpy(np.int32), returns.shape),
        names=tuple(codes["name"]),
        source={
            "name": "skfolio.datasets.load_sp500_dataset",
            "returns": "simple, close to close, from prices adjusted for splits and dividends",
            "industry": "present-day SIC codes of the SEC's register",
            "caveats": [
                f"{len(firms)} large US stocks that were still in the S&P 500 in 2022: survivors, chosen in hindsight. "
                "No firm in the sample fails, so returns of every strategy and of the market are flattered.",
                "SIC codes are present-day ones, not as known on each date: SIC peers use a little hindsight.",
                f"A cross-section of {len(firms)} firms is small: a year's mean weekly rank IC has a standard error "
                f"of about {1 / np.sqrt(52 * (len(firms) - 1)):.2f}.",
            ],
        },
    )
