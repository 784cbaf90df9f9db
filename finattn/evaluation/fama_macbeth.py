"""Cross-sectional regressions date by date, and their averages: what a characteristic is paid for."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from finattn.errors import InputError
from finattn.evaluation.inference import hac_lag

__all__ = ["CONSTANT", "FamaMacBeth", "fama_macbeth"]

CONSTANT = "const"
_LEAST_DATES = 3


class FamaMacBeth(NamedTuple):
    """Average coefficients with errors, and the coefficients of every date.

    Examples
    --------
    >>> from finattn.evaluation import fama_macbeth
    >>> size = np.random.default_rng(0).standard_normal((60, 30, 1))
    >>> found = fama_macbeth(0.01 - 0.02 * size[:, :, 0], size, ["size"], overlap=0)
    >>> found.coefficients.head(2).round(3)
       const  size
    0   0.01 -0.02
    1   0.01 -0.02
    """

    summary: pd.DataFrame
    """name, estimate, standard_error, t, p_value (two-sided); the constant comes first."""
    coefficients: pd.DataFrame
    """One row for each date that was used, indexed by its position in t; columns const and the names."""
    firms: NDArray[np.intp]
    """[t] firms that entered each date's regression, also where it was dropped."""
    dropped: int
    """Dates with too few firms, or whose characteristics do not vary or are collinear across them."""


def fama_macbeth(
    returns: ArrayLike, characteristics: ArrayLike, names: list[str], overlap: int, least_firms: int | None = None
) -> FamaMacBeth:
    """Regress returns on characteristics at each date, and average the coefficients (Fama and MacBeth 1973).

    At each date ordinary least squares r_i = b_0t + sum_k b_kt x_ik + u_i over the firms that have everything. The
    estimates are the means of b_kt over dates; errors are Newey and West's (Bartlett kernel, `hac_lag` lags, at most
    T - 1, covariance times T / (T - 1)), p-values from Student's t with T - 1 degrees of freedom: through
    `linearmodels.FamaMacBeth`.

    Parameters
    ----------
    returns : array [t n]
        The returns that followed each decision date (fractions); NaN = absent.
    characteristics : array [t n k]
        Known at the decision date; NaN = absent.
    names : list of str
        One for each characteristic.
    overlap : int
        Later decision dates whose target overlaps that of a date.
    least_firms : int, optional
        Dates with fewer firms are dropped and counted; at least, and without it, k + 2.

    Returns
    -------
    FamaMacBeth

    Raises
    ------
    InputError
        Shapes and names do not agree, a number is infinite, or fewer than k + 2 (and three) dates can be used.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> size = rng.standard_normal((60, 30, 1))
    >>> returns = 0.01 - 0.02 * size[:, :, 0] + 0.05 * rng.standard_normal((60, 30))
    >>> found = fama_macbeth(returns, size, ["size"], overlap=0)
    >>> found.summary[["name", "estimate"]].round(3), len(found.coefficients), found.dropped
    (    name  estimate
    0  const     0.009
    1   size    -0.020, 60, 0)
    """
    outcome, inputs = _arrays(returns, characteristics, names)
    least = max(inputs.shape[2] + 2, least_firms or 0)
    known = ~(np.isnan(outcome) | np.isnan(inputs).any(axis=2))
    firms = known.sum(axis=1)
    usable = np.array([firms[t] >= least and _full_rank(inputs[t][known[t]]) for t in range(len(known))], np.bool_)
    needed = max(_LEAST_DATES, inputs.shape[2] + 2)
    if usable.sum() < needed:
        raise InputError(
            f"expected at least {needed} dates with {least} firms or more and characteristics that vary and are not "
            f"collinear, found {usable.sum()} of {len(usable)}"
        )
    date, firm = np.nonzero(known & usable[:, None])
    index = pd.MultiIndex.from_arrays([firm, date])
    table = pd.DataFrame(inputs[date, firm], columns=pd.Index(names), index=index)
    table.insert(0, CONSTANT, 1.0)
    summary, coefficients = _fit(pd.Series(outcome[date, firm], table.index, name="return"), table, overlap)
    return FamaMacBeth(summary, coefficients, firms, int((~usable).sum()))


def _fit(outcome: pd.Series, table: pd.DataFrame, overlap: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of averages and that of the dates' coefficients."""
    from linearmodels.panel import FamaMacBeth as Estimator  # slow to import

    dates = table.index.get_level_values(1).nunique()
    lag = min(hac_lag(dates, overlap), dates - 1)
    # Powers of two that bring all columns to one size, exactly: linearmodels would take a small one for collinear.
    unit = 2.0 ** np.round(np.log2(table.abs().max()))
    fit = Estimator(outcome, table / unit).fit(cov_type="kernel", kernel="bartlett", bandwidth=lag, debiased=True)
    estimates, errors = fit.params / unit, fit.std_errors / unit
    columns = {"estimate": estimates, "standard_error": errors, "t": fit.tstats, "p_value": fit.pvalues}
    summary = pd.DataFrame(columns).rename_axis("name").reset_index()
    coefficients = (fit.all_params / unit).sort_index().rename_axis(None)
    return summary, coefficients


def _arrays(
    returns: ArrayLike, characteristics: ArrayLike, names: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as float64, checked against each other and the names."""
    outcome, inputs = np.asarray(returns, np.float64), np.asarray(characteristics, np.float64)
    if outcome.ndim != 2 or inputs.ndim != 3 or inputs.shape != (*outcome.shape, len(names)):
        raise InputError(
            f"expected returns [t n] and characteristics [t n k] for {len(names)} names, "
            f"found {outcome.shape} and {inputs.shape}"
        )
    if not names or len({CONSTANT, *names}) <= len(names):
        raise InputError(f"names must be given, unique and other than {CONSTANT!r}, found {names}")
    if np.isinf(outcome).any() or np.isinf(inputs).any():
        raise InputError("returns and characteristics must be finite or NaN, found an infinite number")
    return outcome, inputs


def _full_rank(inputs: NDArray[np.float64]) -> bool:
    """Whether characteristics [n k] and a constant are linearly independent, whatever their units."""
    centred = inputs - inputs.mean(axis=0)
    scale = np.abs(centred).max(axis=0)
    if (scale <= 1e-12 * np.abs(inputs).max(axis=0)).any():
        return False
    return int(np.linalg.matrix_rank(centred / scale, tol=1e-10)) == inputs.shape[1]
