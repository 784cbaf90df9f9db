"""Whether a peer network holds out of sample: peers move together, and their returns lead, beyond industries.

The network of an as-of date is used for returns after that date only, until the next as-of date. Letters: t date,
n firm, k regressor.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from finattn.baselines.sic_kernel import trailing_returns
from finattn.blocks import forward_returns, observed
from finattn.checks import some
from finattn.config import TargetConfig
from finattn.config.require import require
from finattn.errors import InputError
from finattn.evaluation.fama_macbeth import CONSTANT, fama_macbeth
from finattn.evaluation.inference import hac_lag
from finattn.metrics import demeaned
from finattn.networks.groupings import Given, Pairs, Partition, as_grouping, weighted_average
from finattn.networks.network import PeerNetwork
from finattn.networks.statistics import Snapshot, snapshots
from finattn.panel import Panel
from finattn.splits import label_overlap

Floats = NDArray[np.float64]

COLUMNS = ("regression", "name", "estimate", "standard_error", "t", "p_value", "r2", "dates", "firms")

_REGRESSIONS = {"peers": ("peers",), "group": ("group",), "both": ("peers", "group")}
_NAMES = ("peers", "group", "own")
_LEAST_DATES = 10
_LEAST_RETURNS = 60  # for a beta
_LEAST_FIRMS = 5  # of a date's regression: three coefficients and a constant leave one


class _InForce(NamedTuple):
    """A network with the rows of the panel on which it is the latest, and the columns of its firms."""

    snapshot: Snapshot
    groups: Partition | Pairs | None
    row: int
    """Of its as-of date."""
    end: int
    """Of the next one, or the panel's last."""
    columns: NDArray[np.int64]


def comovement(
    network: PeerNetwork,
    panel: Panel,
    grouping: Given | None = "industry_0",
    horizon: int | None = None,
    beta_window: int = 250,
) -> pd.DataFrame:
    """Regress firms' returns on those of their peers on the same rows, all after the network's as-of date.

    On each row after an as-of date, up to the next or `horizon` rows, a firm's return is set beside that of its peers'
    portfolio (the network's weights, over the peers with a return) and of the others in its group (equal weights):

        r_i − m_i = b (p_i − m_i) + c (g_i − m_i) + u_i

    by ordinary least squares over all firm-dates, with each alone and with both together. Returns are first less beta
    times the mean of the network's firms, each firm's beta from the rows (t − beta_window, t] before it is used, 1 for
    one with fewer than 60 returns there; m_i is what is then the mean of all other firms. Since m_i leaves i out and
    there is no constant, firms with nothing in common but the market have b = c = 0: a constant for each date would
    make both negative, since a firm is in the mean that its peers are measured from. Firms that load alike on other
    factors move together too, which is no evidence that one asks the other.

    Errors are those of Driscoll and Kraay (1998): Newey and West's for the dates' sums of scores, with `hac_lag` lags,
    times T / (T − 1), so that firms of a date may be dependent in any way; p-values are from Student's t with T − 1
    degrees of freedom. Measured with networks drawn at random (80 firms, 260 dates) and a nominal 5%: 5% to 6%; where
    true betas differ by 0.3, 7%, and 9% to 11% without taking them out.

    Parameters
    ----------
    network : PeerNetwork
        Its as-of dates and firms are the panel's.
    panel : Panel
    grouping : see `groupings.as_grouping`; None regresses on peers alone.
    horizon : int, optional
        Rows after each as-of date, at least 1; without it up to the next one, and after the last to the panel's end.
    beta_window : int
        Rows that betas are estimated on; 0 takes 1 for all.

    Returns
    -------
    DataFrame
        With `COLUMNS`: regression ("peers", "group", "both"), name (of the coefficient), estimate, standard_error, t,
        p_value (two-sided), r2 (of the regression, 1 − Σu² / Σ(r − m)²), dates, and firms, the mean number on a date:
        in all three those with a return, peers and a group.

    Raises
    ------
    InputError
        A date or firm is not in the panel, horizon is below 1 or beta_window below 0, fewer than 10 dates can be used,
        peers' and groups' returns are collinear, or for a grouping that there is not.

    Examples
    --------
    >>> network, panel, industry = _example()
    >>> found = comovement(network, panel, industry)
    >>> found[["regression", "name", "estimate", "t", "r2"]].round(2)
      regression   name  estimate      t    r2
    0      peers  peers      0.29  18.89  0.08
    1      group  group      0.30   6.56  0.02
    2       both  peers      0.27  17.66  0.08
    3       both  group      0.12   2.58  0.08
    """
    require("horizon", horizon, horizon is None or horizon >= 1, "at least 1")
    require("beta_window", beta_window, beta_window >= 0, "at least 0")
    moments, firms = [], []
    for used in _in_force(network, panel, grouping):
        last = used.end if horizon is None else min(used.end, used.row + horizon)
        returns = panel.returns[used.row + 1 : last + 1][:, used.columns]
        returns = returns - _betas(used, panel, beta_window) * _mean(returns)
        values = _together(returns, _portfolios(used, returns))
        known = np.isfinite(values.sum(axis=2))
        values = np.where(known[:, :, None], values, 0.0)
        moments.append(np.einsum("tnk,tnj->tkj", values, values))
        firms.append(known.sum(axis=1))
    counts = np.concatenate(firms)
    sums = np.concatenate(moments)[counts > 0]
    require("dates with peers' and groups' returns", len(sums), len(sums) >= _LEAST_DATES, f"at least {_LEAST_DATES}")
    asked = {"peers": _REGRESSIONS["peers"]} if grouping is None else _REGRESSIONS
    rows = [row for name, which in asked.items() for row in _pooled(sums, name, which)]
    return pd.DataFrame(rows).assign(dates=len(sums), firms=counts[counts > 0].mean())[list(COLUMNS)]


def _in_force(network: PeerNetwork, panel: Panel, grouping: Given | None) -> Iterator[_InForce]:
    """Yield the networks in order of their dates."""
    given = None if grouping is None else as_grouping(network, grouping)
    place = {firm: column for column, firm in enumerate(panel.firms.tolist())}
    unknown = [firm for firm in network.nodes["firm"].unique().tolist() if firm not in place]
    if unknown:
        raise InputError(f"firms of the network must be the panel's, found {some(unknown)}")
    absent = network.dates[~np.isin(network.dates, panel.dates)]
    if len(absent):
        raise InputError(f"as-of dates must be the panel's, found {some(absent.astype(str).tolist())}")
    rows = [*np.searchsorted(panel.dates, network.dates).tolist(), len(panel) - 1]
    for number, snapshot in enumerate(snapshots(network)):
        columns = np.array([place[firm] for firm in snapshot.nodes["firm"].tolist()])
        yield _InForce(snapshot, given and given.at(snapshot), rows[number], rows[number + 1], columns)


def _betas(used: _InForce, panel: Panel, window: int) -> Floats:
    """Return each firm's slope (n,) on the mean of all, from rows up to the as-of date; 1 where it is not known."""
    past = panel.returns[max(used.row + 1 - window, 0) : used.row + 1][:, used.columns]
    known, market = np.isfinite(past), np.broadcast_to(_mean(past), past.shape)
    own, market = (demeaned(part.T, known.T) for part in (past, market))
    spread, enough = (market**2).sum(axis=1), known.sum(axis=0) >= _LEAST_RETURNS
    return np.divide((own * market).sum(axis=1), spread, out=np.ones(len(spread)), where=enough & (spread > 0))


def _mean(returns: Floats) -> Floats:
    """Return the mean (t, 1) of the firms with a return, 0 without any."""
    known = np.isfinite(returns)
    return np.where(known, returns, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)


def _portfolios(used: _InForce, returns: Floats) -> list[Floats]:
    """Return what peers and, of a grouping, the others of the group earn (t, n), NaN where there are none."""
    peers = weighted_average(used.snapshot.matrix, returns)
    return [peers] if used.groups is None else [peers, used.groups.average(returns)]


def _together(returns: Floats, portfolios: Sequence[Floats]) -> Floats:
    """Return own, peers' and groups' returns (t, n, k) less the mean of all other firms."""
    known = np.isfinite(returns)
    total, count = (part.sum(axis=1, keepdims=True) for part in (np.where(known, returns, 0.0), known))
    others = (total - returns) / np.maximum(count - 1, 1)
    return np.stack([returns - others, *(portfolio - others for portfolio in portfolios)], axis=2)


def _pooled(moments: Floats, regression: str, names: Sequence[str]) -> list[dict[str, object]]:
    """Return a regression from the sums of products (t, k, k) of each date, the outcome first."""
    which = [1 + _NAMES.index(name) for name in names]
    squares, products = moments[:, which][:, :, which], moments[:, which, 0]
    total = squares.sum(axis=0)
    size = np.sqrt(total.diagonal())
    if not size.all() or np.linalg.matrix_rank(total / np.outer(size, size), tol=1e-10) < len(names):
        raise InputError("peers and groups must differ and vary, found returns of theirs that are collinear")
    estimate = np.linalg.solve(total, products.sum(axis=0))
    inverse, count = np.linalg.inv(total), len(moments)
    errors = np.sqrt((inverse @ _long_run(products - squares @ estimate) @ inverse).diagonal())
    t = estimate / errors
    p = 2 * stats.t.sf(np.abs(t), count - 1)
    r2 = float(estimate @ products.sum(axis=0) / moments[:, 0, 0].sum())
    columns = zip(names, estimate.tolist(), errors.tolist(), t.tolist(), p.tolist(), strict=True)
    return [dict(zip(COLUMNS, (regression, *values, r2), strict=False)) for values in columns]


def _long_run(scores: Floats) -> Floats:
    """Return the covariance (k, k) of the sum over dates of scores (t, k): Bartlett kernel, times T / (T − 1)."""
    count = len(scores)
    lag = min(hac_lag(count, 0), count - 1)
    result = scores.T @ scores
    for back in range(1, lag + 1):
        cross = scores[back:].T @ scores[:-back]
        result += (1 - back / (lag + 1)) * (cross + cross.T)
    return result * count / (count - 1)


def lead(
    network: PeerNetwork,
    panel: Panel,
    grouping: Given | None = "industry_0",
    target: TargetConfig | None = None,
    window: int = 1,
    every: int = 1,
) -> pd.DataFrame:
    """Regress firms' future returns on what their peers have earned, to see whether it travels along the edges.

    At the close of row t a firm's compounded return over rows (t + delay, t + delay + horizon] is regressed across
    firms on three returns over (t − window, t]: its peers' (the weights of the latest network whose as-of date is not
    after t, over the peers observed at t), that of the others in its group (equal weights), and its own. The constant
    of each date takes the market out. Coefficients are averaged over dates, with errors of Newey and West that know
    how many targets overlap (`evaluation.fama_macbeth`).

    Parameters
    ----------
    network : PeerNetwork
        Its as-of dates and firms are the panel's.
    panel : Panel
    grouping : see `groupings.as_grouping`; None leaves the group out.
    target : TargetConfig, optional
        Horizon, delay and what stands in for a missing delisting return; by default the return over the next row.
    window : int
        Rows that past returns are compounded over, at least 1.
    every : int
        A regression on every so manyth row from the first as-of date, at least 1.

    Returns
    -------
    DataFrame
        regression ("peers", "group", "own" alone, and "all"), name (of the coefficient), estimate, standard_error, t,
        p_value (two-sided), dates, and firms, the mean number on a date: in all four those with everything.

    Raises
    ------
    InputError
        A date or firm is not in the panel, window or every is below 1, fewer than 10 dates can be used, or for a
        grouping that there is not.

    Examples
    --------
    >>> network, panel, industry = _example()
    >>> found = lead(network, panel, industry)
    >>> found[found["regression"] == "all"][["name", "estimate", "t"]].round(2)
        name  estimate      t
    3  peers      0.32  15.10
    4  group      0.00   0.05
    5    own      0.05   1.73
    """
    target = target or TargetConfig(1)
    for name, value in (("window", window), ("every", every)):
        require(name, value, value >= 1, "at least 1")
    names = [name for name in _NAMES if grouping is not None or name != "group"]
    rows, pasts, first = [np.zeros(0, np.int64)], [np.zeros((0, panel.shape[1], len(names)))], None
    for used in _in_force(network, panel, grouping):
        first = used.row if first is None else first
        here = np.arange(max(used.row, window - 1), used.end)
        here = here[(here - first) % every == 0]
        past = np.full((len(here), panel.shape[1], len(names)), np.nan)
        past[:, used.columns] = _past(used, panel, here, window)
        rows.append(here)
        pasts.append(past)
    decided, known = np.concatenate(rows), np.concatenate(pasts)
    future = forward_returns(panel, decided, target)
    future[np.isnan(known).any(axis=2)] = np.nan
    return _led(future, known, names, label_overlap(decided, target.horizon))


def _past(used: _InForce, panel: Panel, rows: NDArray[np.int64], window: int) -> Floats:
    """Return what peers, others of the group and the firm itself have earned (t, n, k), NaN where not observed."""
    here = observed(panel, rows)[:, used.columns]
    own = np.where(here, trailing_returns(panel, rows, window)[:, used.columns], np.nan)
    return np.stack([*_portfolios(used, own), own], axis=2)


def _led(future: Floats, past: Floats, names: Sequence[str], overlap: int) -> pd.DataFrame:
    """Return the regressions of future (t, n) on past returns (t, n, k), each alone and all together."""
    tables, everything = [], list(range(len(names)))
    for regression, which in {**{name: [place] for place, name in enumerate(names)}, "all": everything}.items():
        found = fama_macbeth(future, past[:, :, which], [names[place] for place in which], overlap, _LEAST_FIRMS)
        table = found.summary[found.summary["name"] != CONSTANT].assign(regression=regression)
        firms = found.firms[found.coefficients.index]
        tables.append(table.assign(dates=len(firms), firms=firms.mean()))
    return pd.concat(tables, ignore_index=True)[[name for name in COLUMNS if name != "r2"]]


def _example() -> tuple[PeerNetwork, Panel, dict[str, str]]:
    """Return the examples' network, panel and industries: each firm moves with the one before it, and follows it."""
    firms, day = [f"{letter}{number}" for letter in "ABCD" for number in range(5)], "2020-01-31"
    noise = 0.01 * np.random.default_rng(0).standard_normal((121, len(firms)))
    returns = noise[1:] + 0.4 * np.roll(noise, 1, axis=1)[1:] + 0.4 * np.roll(noise, 1, axis=1)[:-1]
    panel = Panel(np.datetime64(day) + np.arange(120), np.array(firms), returns)
    edges = {"date": day, "firm": firms, "peer": firms[-1:] + firms[:-1], "weight": 1.0}
    unknown = dict.fromkeys(["lower", "upper", "share"], np.nan)
    nodes = {"date": day, "firm": firms, "name": firms, "size": np.nan}
    made = {"method": "planted", "interval": "none", "level": None, "run": ""}
    return PeerNetwork(pd.DataFrame(edges | unknown), pd.DataFrame(nodes), made), panel, {f: f[0] for f in firms}
