"""A simulated panel of quarterly reports over daily returns, in which firms hear of directed peers a quarter late."""

import math
from dataclasses import dataclass

import numpy as np
from pandas.tseries.holiday import USFederalHolidayCalendar

from finattn.data.design import require, require_whole
from finattn.data.truth import Floats, Simulated, Truth
from finattn.panel import Panel

QUARTER = 63  # rows from a peer's return to what it does to a firm's
FLOOR = -0.95  # no simulated return is lower
PEERS = 5  # in effect, 1 / Σ w²
VOLATILITY = 0.022  # of a row's return
_MARKET = 0.25  # its share of the noise's variance
_TAILS = 5.0
_REPORTED = np.timedelta64(60, "D")  # after the quarter's end
_ROUNDS = 25  # of calibration at most: each simulates all returns again
# Two-digit SIC groups, and the share of their firms that spend on R&D.
_SECTORS = {20: 0.2, 28: 0.9, 36: 0.9, 38: 0.9, 49: 0.0, 53: 0.05, 60: 0.0, 73: 0.8}
_CORNERS = 2.0 * (np.arange(len(_SECTORS))[:, None] >> np.arange(3) & 1) - 1  # where sectors lie
_APART = 4.0  # what one corner more in common adds to a score
# Of each characteristic: mean, deviation, autocorrelation from quarter to quarter, what a firm seeks by it, and how it
# presents itself. Small firms that spend on R&D seek large ones; levered and unprofitable ones seek R&D and profits.
_CHARACTERISTICS = {
    "size": (21.5, 1.6, 0.99, (-1, 0), (1, 0)),
    "leverage": (0.25, 0.15, 0.97, (0, 1), (0, 0)),
    "rnd": (0.05, 0.08, 0.97, (1, 0), (0, 1)),
    "roa": (0.03, 0.07, 0.9, (0, -1), (0, 1)),
}
_MEAN, _DEVIATION, _PERSISTENCE = np.array([row[:3] for row in _CHARACTERISTICS.values()]).T
_SEEKS, _SHOWS = (np.array([row[place] for row in _CHARACTERISTICS.values()]) for place in (3, 4))
_Maps = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, eq=False, repr=False)
class Delayed(Truth):
    """The truth of `simulate_quarterly`; `oracle` and `r2` are of another horizon than those of `Truth`.

    With A_s the `attention` at row s and x_s the returns of row s in excess of their mean,

    - drift_t = slope ((1 − q) A_s x_s + q A_s A_s x_s) at s = t − 63, q the share of peers of peers
    - oracle_t = Π_{l=1..63} (1 + drift_t+l) − 1, the expectation of the compounded return over rows (t, t + 63]

    Parameters
    ----------
    r2 : 1 − Σ (r − oracle)² / Σ r², r the compounded return, pooled over the last rows of calendar quarters.
    slope : the factor above. query_map, key_map : W_Q and W_K (f, p). query_bias : (p,).
    cross_sector : realised share of the weights, on the first row, that lie in another sector than the firm's.

    Examples
    --------
    >>> import finattn as fa
    >>> panel, truth = fa.simulate_quarterly(firms=60, years=2)
    >>> round(truth.r2, 2), round(truth.cross_sector, 2)
    (0.05, 0.75)
    >>> peers = truth.attention(panel.features[-1])[0]  # whom the first firm listens to, on the last row
    >>> panel.firms[peers.argmax()].item(), round(float(peers.max()), 2)
    ('S00057', 0.28)
    """

    slope: float
    query_map: Floats
    key_map: Floats
    query_bias: Floats
    cross_sector: float

    def attention(self, features: Floats) -> Floats:
        """Return A (…, n, n), the softmax over j ≠ i of (z_i W_Q + b) (z_j W_K)ᵀ, of features z (…, n, f).

        Examples
        --------
        >>> panel, truth = simulate_quarterly(firms=60, years=1)
        >>> truth.attention(panel.features[:3]).sum(axis=2).round(6).min().item()
        1.0
        """
        return _attention(features, self.query_map, self.key_map, self.query_bias)


def simulate_quarterly(
    firms: int = 300,
    years: int = 20,
    *,
    r2: float = 0.05,
    cross_sector: float = 0.8,
    peers_of_peers: float = 0.0,
    seed: int = 0,
) -> Simulated[Delayed]:
    """Simulate daily returns and quarterly reports of firms that hear of their peers' returns a quarter late.

    What a peer's return in excess of the mean is on one row moves the firm's return 63 rows later, so that the best
    forecast of the next 63 rows' return is slope × the weighted mean of the peers' returns over the last 63, on every
    row (see `Delayed`). Noise is a common factor (in `panel.factors`) plus a Student t of the firm's own.

    Peers are weighed by directed scores on what the panel shows: a firm has a sector in which it seeks them, and there
    weighs firms by size, leverage, R&D and profitability. What it seeks is not how it presents itself. About five peers
    count. A look-up with W_Q z + c and W_K z can be equal to these scores; a kernel on distances cannot.

    Parameters
    ----------
    firms : n, at least 48. years : calendar years from 2000, of weekdays that are no federal holidays.
    r2 : the oracle's pooled R² on quarters to expect, from 0 to below 0.5; `Delayed.r2` is the one that came about.
    cross_sector : share of the eight sectors whose firms seek peers in another one, rounded to whole sectors; with 0,
        all peers have the firm's own two-digit SIC code.
    peers_of_peers : share q of what is heard that comes from the peers' own peers.
    seed : of all random numbers. The same seed at another r2 keeps reports, peers, and noise but for its scale.

    Returns
    -------
    Simulated(panel, truth). Features are size (log of total assets, USD), leverage (debt over assets), rnd (R&D over
    sales, exactly 0 for many), roa (net income of four quarters over assets) and sector_1 to sector_8 (1 or 0). They
    are of the last calendar quarter that ended more than 60 days before a row, and so change four times a year.

    Raises
    ------
    InputError
        For a setting out of its range.

    Examples
    --------
    >>> panel, truth = simulate_quarterly(firms=60, years=2)
    >>> panel.shape, panel.feature_names[:5]
    ((502, 60), ('size', 'leverage', 'rnd', 'roa', 'sector_1'))
    """
    _check(firms, years, r2, cross_sector, peers_of_peers, seed)
    random = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)]
    dates = _dates(years)
    shown = _quarters(dates - _REPORTED)
    shown -= shown[0]
    sector = random[0].permutation(np.arange(firms) % len(_SECTORS))
    reports = _reports(random[0], sector, shown[-1] + 1)
    maps = _maps(random[1], firms, cross_sector)
    noise, market = _noise(random[2], (len(dates), firms), math.sqrt(1 - r2) * VOLATILITY)
    slope, returns, heard = _calibrated(noise, reports, shown, maps, r2, peers_of_peers)
    oracle = _oracle(slope * heard)
    settings = {"r2": float(r2), "cross_sector": float(cross_sector), "peers_of_peers": float(peers_of_peers)}
    panel = _panel(dates, returns, reports[shown], sector, market, settings | {"seed": int(seed)})
    apart = sector[:, None] != sector[None, :]
    truth = Delayed(
        oracle=oracle,
        parts={"peers": oracle},
        relevant={"peers": panel.feature_names},
        r2=_r2(oracle, returns, dates),
        clipped=int((returns <= FLOOR).sum()),
        slope=slope,
        query_map=maps[0],
        key_map=maps[1],
        query_bias=maps[2],
        cross_sector=float((_attention(reports[0], *maps) * apart).sum() / firms),
    )
    return Simulated(panel, truth)


def _check(firms: int, years: int, r2: float, cross_sector: float, peers_of_peers: float, seed: int) -> None:
    require_whole("firms", firms, len(_SECTORS) * (PEERS + 1))
    require_whole("years", years, 1)
    require("years", years, years <= 100, "at most 100")
    require("r2", r2, 0 <= r2 < 0.5, "at least 0 and below 0.5")
    for name, value in (("cross_sector", cross_sector), ("peers_of_peers", peers_of_peers)):
        require(name, value, 0 <= value <= 1, "from 0 to 1")
    require_whole("seed", seed, 0)


def _dates(years: int) -> Floats:
    """Return the weekdays of calendar years that are no federal holidays."""
    days = np.arange("2000-01-01", f"{2000 + years}-01-01", dtype="datetime64[D]")
    holidays = USFederalHolidayCalendar().holidays(days[0], days[-1]).to_numpy().astype("datetime64[D]")
    return days[np.is_busday(days, holidays=holidays)]


def _quarters(days: Floats) -> Floats:
    """Count calendar quarters."""
    return days.astype("datetime64[M]").astype(int) // 3


def _reports(random: np.random.Generator, sector: Floats, quarters: int) -> Floats:
    """Draw what reports say (q, n, f), of autoregressive causes; R&D is more among small firms, and costs profits."""
    firms = len(sector)
    size, leverage, rnd, roa = np.moveaxis(random.standard_normal((4, quarters, firms)), 0, 0)
    for cause, persistence in zip((size, leverage, rnd, roa), _PERSISTENCE, strict=True):
        cause[1:] *= math.sqrt(1 - persistence**2)
        for row in range(1, quarters):
            cause[row] += persistence * cause[row - 1]
    spends = random.random(firms) < np.array(list(_SECTORS.values()))[sector]
    rnd = np.minimum(0.07 * np.exp(0.7 * rnd - 0.3 * size), 0.5) * spends
    reports = np.zeros((quarters, firms, len(_MEAN) + len(_SECTORS)), np.float32)
    reports[:, :, 0] = _MEAN[0] + _DEVIATION[0] * size
    reports[:, :, 1] = np.clip(_MEAN[1] + _DEVIATION[1] * leverage, 0, 0.95)
    reports[:, :, 2] = rnd
    reports[:, :, 3] = np.clip(0.04 + 0.02 * size + 0.06 * roa - 0.3 * rnd, -0.6, 0.4)
    reports[:, np.arange(firms), len(_MEAN) + sector] = 1
    return reports


def _maps(random: np.random.Generator, firms: int, cross_sector: float) -> _Maps:
    """Return W_Q and W_K (f, p) and the bias (p,) of queries; the first places of p are of sectors."""
    target = np.arange(len(_SECTORS))
    crossing = random.permutation(target)[: round(cross_sector * len(target))]
    target[crossing] = (crossing + random.integers(1, len(target), len(crossing))) % len(target)
    characteristics, places = len(_MEAN), _CORNERS.shape[1]
    query = np.zeros((characteristics + len(target), places + _SEEKS.shape[1]))
    key = np.zeros_like(query)
    query[characteristics:, :places], key[characteristics:, :places] = _APART * _CORNERS[target], _CORNERS
    # Normal scores of variance v over m firms leave m exp(−v) in effect: this leaves about as many as wanted.
    sharpness = math.sqrt(math.log(firms / len(target) / PEERS))
    query[:characteristics, places:] = sharpness * _SEEKS / _DEVIATION[:, None]
    key[:characteristics, places:] = _SHOWS / _DEVIATION[:, None]
    return query, key, -_MEAN @ query[:characteristics]


def _attention(features: Floats, query_map: Floats, key_map: Floats, query_bias: Floats) -> Floats:
    features = features.astype(float)
    scores = (features @ query_map + query_bias) @ np.swapaxes(features @ key_map, -1, -2)
    scores[..., np.arange(scores.shape[-1]), np.arange(scores.shape[-1])] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _noise(random: np.random.Generator, shape: tuple[int, int], deviation: float) -> tuple[Floats, Floats]:
    """Return noise (t, n) and the common factor (t,) in it."""
    days, firms = shape
    market = math.sqrt(_MARKET) * deviation * random.standard_normal(days)
    loadings = 1 + 0.3 * random.standard_normal(firms)
    loadings /= math.sqrt((loadings**2).mean())
    own = random.standard_t(_TAILS, shape) * math.sqrt((_TAILS - 2) / _TAILS)
    return market[:, None] * loadings + math.sqrt(1 - _MARKET) * deviation * own, market


def _calibrated(
    noise: Floats, reports: Floats, shown: Floats, maps: _Maps, r2: float, peers_of_peers: float
) -> tuple[float, Floats, Floats]:
    """Return the slope that gives the r2 asked for, with returns and what is heard (t, n)."""

    def run(slope: float, noise: Floats) -> tuple[Floats, Floats, float]:
        returns, heard = _run(noise, reports, shown, maps, slope, peers_of_peers)
        return returns, heard, math.sqrt(r2) * VOLATILITY / float(np.sqrt((heard**2).mean()))

    # What is heard depends a little on the slope: begin with noise as large as returns.
    better = run(0.0, noise / math.sqrt(1 - r2))[2]
    for _ in range(_ROUNDS):
        slope = better
        require("r2", r2, slope < 1, f"lower, or peers_of_peers: a firm hears {slope:.2f} of a peer's return")
        returns, heard, better = run(slope, noise)
        if math.isclose(better, slope, rel_tol=1e-3):
            break
    return slope, returns, heard


def _run(
    noise: Floats, reports: Floats, shown: Floats, maps: _Maps, slope: float, peers_of_peers: float
) -> tuple[Floats, Floats]:
    """Simulate returns (t, n), a quarter at once since news takes as long, and what is heard of peers, unscaled."""
    returns, heard = np.maximum(noise, FLOOR), np.zeros_like(noise)
    starts = np.union1d(np.arange(0, len(noise), QUARTER), np.flatnonzero(np.diff(shown)) + 1)
    for start, stop in zip(starts, [*starts[1:], len(noise)], strict=True):
        if start >= QUARTER:
            drift = slope * heard[start - QUARTER : stop - QUARTER]
            returns[start:stop] = np.maximum(noise[start:stop] + drift, FLOOR)
        weights = _attention(reports[shown[start]], *maps).T
        excess = returns[start:stop] - returns[start:stop].mean(axis=1, keepdims=True)
        told = excess @ weights
        heard[start:stop] = (1 - peers_of_peers) * told + peers_of_peers * (told @ weights if peers_of_peers else 0)
    return returns, heard


def _oracle(drifts: Floats) -> Floats:
    """Compound what was heard over the last quarter (t, n), which is the drift of the next."""
    growth = np.concatenate([np.zeros((QUARTER, drifts.shape[1])), np.log1p(drifts).cumsum(axis=0)])
    return np.expm1(growth[QUARTER:] - growth[:-QUARTER])


def _r2(oracle: Floats, returns: Floats, dates: Floats) -> float:
    growth = np.log1p(returns).cumsum(axis=0)
    rows = np.flatnonzero(np.diff(_quarters(dates)))
    rows = rows[rows + QUARTER < len(dates)]
    realised = np.expm1(growth[rows + QUARTER] - growth[rows])
    return float(1 - ((realised - oracle[rows]) ** 2).sum() / (realised**2).sum())


def _panel(
    dates: Floats, returns: Floats, features: Floats, sector: Floats, market: Floats, settings: dict[str, float]
) -> Panel:
    codes = np.array(list(_SECTORS), np.int32)[sector] * 100 + 11
    return Panel(
        dates=dates,
        firms=np.array([f"S{firm:05d}" for firm in range(len(sector))]),
        returns=returns,
        industry=np.tile(codes, (len(dates), 1)),
        features=features,
        feature_names=(*_CHARACTERISTICS, *(f"sector_{place + 1}" for place in range(len(_SECTORS)))),
        factors=market[:, None],
        factor_names=("market",),
        industry_as_of=True,
        source={
            "name": "finattn.data.simulate_quarterly",
            "availability": f"known at t: reports more than {_REPORTED} after the quarter's end",
            "returns": "simulated, simple",
            "industry": "made-up SIC codes, constant",
            "settings": settings,
            "caveats": ["Simulated firms: nothing here is a fact about a market.", "No firm ever leaves."],
        },
    )
