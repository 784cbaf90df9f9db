"""Forecasts as expected returns of skfolio's optimisers; importing this module imports skfolio."""

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skfolio.exceptions import SkfolioError
from skfolio.moments import BaseCovariance, LedoitWolf
from skfolio.optimization import BaseOptimization, MeanRisk, ObjectiveFunction
from skfolio.prior import BasePrior, ReturnDistribution

from finattn.blocks import observed
from finattn.checks import first_line
from finattn.config.require import require
from finattn.errors import InputError
from finattn.evaluation.weights import one_model, places
from finattn.forecasts import Forecasts
from finattn.panel import Panel

__all__ = ["ForecastPrior", "optimised"]

RISK_AVERSION = 2.5
_NOISE = 1e-6  # of a solver: smaller weights are none


class ForecastPrior(BasePrior):
    """A prior of skfolio whose expected returns are given, and whose covariance is that of the returns it is fitted on.

    Parameters
    ----------
    expected_returns : array [n]
        A row's expected return of each asset, in the order of the columns of X; fractions.
    covariance_estimator : BaseCovariance, optional
        Without it Ledoit and Wolf's (2004) shrinkage.

    Attributes
    ----------
    return_distribution_ : ReturnDistribution
        Its scenarios are the returns as they are.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> returns = 0.01 * rng.standard_normal((100, 3))
    >>> ForecastPrior([0.01, 0.0, -0.01]).fit(returns).return_distribution_.mu
    array([ 0.01,  0.  , -0.01])
    """

    def __init__(self, expected_returns: ArrayLike, covariance_estimator: BaseCovariance | None = None) -> None:
        self.expected_returns = expected_returns
        self.covariance_estimator = covariance_estimator

    def fit(self, X: ArrayLike, y: Any = None, **fit_params: Any) -> Self:  # keywords are BasePrior's contract
        """Estimate the covariance of returns X [t n]; `y` is not used.

        Raises
        ------
        InputError
            The expected returns are not one for each asset.
        """
        mean, returns = np.asarray(self.expected_returns, np.float64), np.asarray(X, np.float64)
        if mean.shape != returns.shape[1:]:
            raise InputError(f"expected_returns must be one for each of {returns.shape[1]} assets, found {mean.shape}")
        estimator = LedoitWolf() if self.covariance_estimator is None else copy.deepcopy(self.covariance_estimator)
        self.return_distribution_ = ReturnDistribution(
            mu=mean, covariance=estimator.fit(returns).covariance_, returns=returns
        )
        return self


def optimised(
    forecasts: Forecasts,
    panel: Panel,
    model: str | None = None,
    optimiser: BaseOptimization | None = None,
    lookback: int = 252,
    covariance_estimator: BaseCovariance | None = None,
) -> NDArray[np.float64]:
    """Weights of an optimiser of skfolio at each decision date, from the forecasts and the past returns.

    Expected returns of a row are the predictions (seeds averaged) over the horizon; the covariance is that of the
    `lookback` rows up to the decision. A firm that was not listed, or had no return, on one of them is not held, nor is
    one whose return never changed, nor anything on a date with fewer than two firms; weights below 1e-6 are set to 0.

    Parameters
    ----------
    forecasts, panel : the panel holds the forecasts' dates and firms.
    model : may be left out where there is only one.
    optimiser : BaseOptimization, optional
        Any that takes a `prior_estimator`, which is replaced, such as `MeanRisk`; it is not changed. Without it, the
        long-only portfolio with the highest mean - 2.5 variance, which is a relative risk aversion of 5.
    lookback : int
        Rows, at least 2.
    covariance_estimator : see `ForecastPrior`.

    Returns
    -------
    array [t n]
        On the axes of `forecasts.wide`, for `backtest(…, weights={model: …})`.

    Raises
    ------
    InputError
        A date or firm is not in the panel, a decision has fewer than `lookback` rows up to it, the optimiser takes no
        prior, or it finds no weights.

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> panel = Panel(np.datetime64("2020-01-01") + np.arange(60), list("ABC"), 0.01 * rng.standard_normal((60, 3)))
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[59] * 3].astype("M8[s]"), "firm": list("ABC"), "model": "ridge", "fold": 0, "seed": 0,
    ...     "score": [1.0, 2.0, 3.0], "prediction": [-0.05, 0.0, 0.05], "realised": [float("nan")] * 3})
    >>> optimised(Forecasts(table, 5, 0, 0, 252), panel, lookback=60).round(2) + 0.0
    array([[0., 0., 1.]])
    """
    require("lookback", lookback, lookback >= 2, "at least 2")
    if optimiser is None:
        optimiser = MeanRisk(objective_function=ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=RISK_AVERSION)
    takes = "prior_estimator" in optimiser.get_params(deep=False)
    require("optimiser", type(optimiser).__name__, takes, "one of skfolio that takes a prior_estimator")
    wide = forecasts.wide(one_model(forecasts, model))
    rows, columns = places(wide, panel)
    require("lookback", lookback, lookback <= rows[0] + 1, f"at most the {rows[0] + 1} rows up to the first decision")
    weights = np.zeros(wide.prediction.shape)
    for t, row in enumerate(rows):
        window = slice(row - lookback + 1, row + 1)
        returns = panel.returns[window][:, columns]
        known = observed(panel, window)[:, columns].all(axis=0) & ~np.isnan(wide.prediction[t])
        known &= np.ptp(returns, axis=0) > 0
        if known.sum() < 2:
            continue
        prior = ForecastPrior(wide.prediction[t, known] / forecasts.horizon, covariance_estimator)
        weights[t, known] = _fitted(optimiser, prior, returns[:, known], panel.dates[row])
    return weights


def _fitted(
    optimiser: BaseOptimization, prior: ForecastPrior, returns: NDArray[np.float64], date: np.datetime64
) -> NDArray[np.float64]:
    """Return the weights [n] that an optimiser finds."""
    fresh = copy.deepcopy(optimiser).set_params(prior_estimator=prior)
    try:
        weights = np.asarray(fresh.fit(returns).weights_, np.float64)
    except (SkfolioError, ValueError) as error:
        raise InputError(
            f"optimiser must find weights at every decision, found none on {date}: {first_line(error)}"
        ) from None
    if weights.shape != returns.shape[1:]:
        raise InputError(f"optimiser must find one weight a firm, found an array of shape {weights.shape} on {date}")
    return np.where(np.abs(weights) < _NOISE, 0.0, weights)
