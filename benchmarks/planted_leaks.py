"""Pipelines with one known leak each, beside the honest pipeline that they are made of.

Small on purpose: 24 firms, 260 days, a ridge regression in a few lines, so that a leak is one line of its own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.blocks import forward_returns, observed
from finattn.config import TargetConfig
from finattn.data.asof import Rule, look_up
from finattn.forecasts import Forecasts
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.panel import Panel

HORIZON, START, FIRST = 5, 30, 180  # rows of the label; the first trained on, and the first forecast
TARGET = TargetConfig(HORIZON)
STRENGTHS = (0.1, 10.0, 1000.0, 100_000.0)


class Leak(NamedTuple):
    """A pipeline with a leak: the check that must catch it, what it must be traced to, and what it is given."""

    pipeline: Callable[..., Any]
    check: str = "future"
    group: str = ""
    reports: bool = False
    arranged: Callable[[Panel], Panel] = lambda panel: panel


def raw_panel(firms: int = 24, days: int = 260, seed: int = 0) -> Panel:
    """Simulate a panel as it comes: prices, market values, features with gaps, a late listing and two delistings."""
    random = np.random.default_rng(seed)
    shape = days, firms
    value = random.standard_normal(shape).cumsum(axis=0) / 5
    returns = 0.01 * random.standard_normal((days, 1)) + 0.02 * random.standard_normal(shape)
    returns[1:] += 0.002 * np.tanh(value[:-1])
    returns += 0.002 * random.standard_normal(firms)  # some do better for long
    listed = np.ones(shape, bool)
    listed[:60, 1], listed[days - 40 :, 2], listed[120:, 3] = False, False, False
    price = 20 * np.exp(random.normal(0, 1, firms)) * np.cumprod(1 + returns, axis=0)
    levels = {"price": price, "market_cap": price * np.exp(random.normal(10, 1, firms))}
    features = np.stack([value, random.standard_normal(shape)], axis=2)
    features[random.random(shape) < 0.1, 0] = np.nan
    features[~listed] = np.nan
    returns[random.random(shape) < 0.01] = np.nan
    returns[~listed] = np.nan
    return Panel(
        dates=np.busday_offset("2001-01-01", np.arange(days), roll="forward"),
        firms=[f"F{i:02d}" for i in range(firms)],
        returns=returns,
        listed=listed,
        industry=np.broadcast_to(np.resize([2834, 2836, 6021, 7372], firms), shape),
        features=features,
        feature_names=("value", "quality"),
        **{name: np.where(listed, level, np.nan) for name, level in levels.items()},
    )


def raw_reports(panel: Panel, seed: int = 0) -> pd.DataFrame:
    """Make earnings reports every 40 days, available 20 to 30 days later and amended 10 to 60 days after that."""
    random = np.random.default_rng(seed)
    ends = np.repeat(panel.dates[20:-60:40], len(panel.firms))
    table = pd.DataFrame({"firm": np.resize(panel.firms, len(ends)), "period_end": ends.astype("M8[s]")})
    table["available"] = table["period_end"] + pd.to_timedelta(random.integers(20, 31, len(ends)), "D")
    table["earnings"] = random.standard_normal(len(ends))
    again = table.assign(available=table["available"] + pd.to_timedelta(random.integers(10, 61, len(ends)), "D"))
    again["earnings"] += random.standard_normal(len(ends))
    return pd.concat([table, again], ignore_index=True)


# -- an honest pipeline, in parts ------------------------------------------------------------


def columns_of(panel: Panel) -> list[np.ndarray]:
    """Momentum, reversal and the panel's features, all of the past."""
    returns = pd.DataFrame(np.where(observed(panel, slice(None)), panel.returns, np.nan))
    windows = [returns.rolling(window, min_periods=1).mean().to_numpy() for window in (5, 21)]
    return [*windows, *np.moveaxis(panel.features, 2, 0)]


def by_date(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Standardise across the firms of a date; missing is 0."""
    known = there & np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, values, 0.0) - np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.where(known, centred, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    return np.where(known, centred, 0.0) / np.where(spread > 1e-12, spread, 1.0)


def labels_of(panel: Panel, last: int | None = None) -> np.ndarray:
    """Forward returns in excess of their date's mean, in units of 0.05; NaN where they are not known.

    Those of rows up to `last` are labels to fit on: they do not know who comes back after the last has ended.
    """
    label = forward_returns(panel, np.arange(len(panel)), TARGET, None if last is None else last + HORIZON)
    known = ~np.isnan(label)
    mean = np.where(known, label, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return (label - mean) / 0.05


def slopes(panel: Panel, x: np.ndarray, last: int, strength: float, labels: np.ndarray | None = None) -> np.ndarray:
    """Fit a ridge regression on rows from `START` to `last`, on labels that end there unless others are given."""
    rows, y = slice(START, last + 1), labels_of(panel, last) if labels is None else labels
    known = ~np.isnan(y[rows])
    a, b = x[rows][known], y[rows][known]
    return np.linalg.solve(a.T @ a + strength * np.eye(a.shape[1]), a.T @ b)


def tested(panel: Panel, score: np.ndarray) -> np.ndarray:
    """Keep what is forecast: observed firms from `FIRST` on."""
    there = observed(panel, slice(None)) & (np.arange(len(panel)) >= FIRST)[:, None]
    return np.where(there, score, np.nan)


def forecast(panel: Panel, columns: list[np.ndarray], last: int = FIRST - HORIZON, scaled: bool = True) -> np.ndarray:
    """Fit on rows whose labels end by `FIRST`, and forecast from there on: the honest pipeline's second half."""
    there = observed(panel, slice(None))
    x = np.stack([by_date(c, there) if scaled else np.nan_to_num(c) for c in columns], axis=2)
    return tested(panel, x @ slopes(panel, x, last, 10.0))


def honest(panel: Panel) -> np.ndarray:
    return forecast(panel, columns_of(panel))


# -- leaks ------------------------------------------------------------


def scaled_over_all_dates(panel: Panel) -> np.ndarray:
    columns = [(c - np.nanmean(c[panel.listed])) / np.nanstd(c[panel.listed]) for c in columns_of(panel)]
    return forecast(panel, columns, scaled=False)


def divided_by_maximum(panel: Panel) -> np.ndarray:
    price = np.where(panel.listed, panel.price, np.nan)
    return forecast(panel, [price / np.nanmax(price, axis=0)], scaled=False)


def gaps_made_by_labels(panel: Panel) -> np.ndarray:
    """Leave out rows with an extreme label, repeat the row before in their place, and show models which were."""
    extreme = np.abs(np.nan_to_num(labels_of(panel))) > 1.6
    columns = [pd.DataFrame(np.where(extreme, np.nan, c)).ffill().to_numpy() for c in columns_of(panel)]
    moved = np.abs(np.diff(columns[1], axis=0, prepend=np.nan))
    return forecast(panel, [*columns, pd.DataFrame(moved).rolling(HORIZON, min_periods=1).min().to_numpy()])


def rows_repeated_with_labels(panel: Panel) -> Forecasts:
    """Fill gaps by repeating whole rows, labels included: they overlap what is known by then."""
    gap = panel.listed & np.isnan(panel.returns)
    filled = pd.DataFrame(forward_returns(panel, np.arange(len(panel)), TARGET)).ffill(limit=3).to_numpy()
    there = observed(panel, slice(None)) | gap
    score = pd.DataFrame(forecast(panel, columns_of(panel))).ffill(limit=3).to_numpy()
    rows, firms = np.nonzero(there & np.isfinite(score) & (np.arange(len(panel)) >= FIRST)[:, None])
    return as_forecasts(panel, rows, firms, score, filled)


def as_forecasts(panel: Panel, rows: np.ndarray, firms: np.ndarray, score: np.ndarray, label: np.ndarray) -> Forecasts:
    table = pd.DataFrame({"date": panel.dates[rows].astype("M8[ms]"), "firm": panel.firms[firms], "model": "ridge"})
    table = table.assign(fold=0, seed=0, score=score[rows, firms], prediction=score[rows, firms] / 100)
    return Forecasts(table.assign(realised=label[rows, firms]), HORIZON, 0, HORIZON - 1, 252)


def target_in_features(panel: Panel) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, panel.shape)
    return forecast(
        panel, [*columns_of(panel), np.nan_to_num(forward_returns(panel, np.arange(len(panel)), TARGET)) + noise]
    )


def centred_average(panel: Panel) -> np.ndarray:
    return forecast(panel, [pd.DataFrame(panel.returns).rolling(5, center=True, min_periods=1).mean().to_numpy()])


def filled_backwards(panel: Panel) -> np.ndarray:
    return forecast(panel, [pd.DataFrame(c).bfill().to_numpy() for c in columns_of(panel)])


def survivors(panel: Panel) -> np.ndarray:
    return np.where(panel.listed[-1], honest(panel), np.nan)


def largest_at_the_end(panel: Panel) -> np.ndarray:
    return np.where(panel.market_cap[-1] >= np.nanmedian(panel.market_cap[-1]), honest(panel), np.nan)


def tuned_on_test(panel: Panel) -> np.ndarray:
    return best(panel, [tested(panel, penalised(panel, strength)) for strength in STRENGTHS], slice(FIRST, None))


def penalised(panel: Panel, strength: float, last: int = FIRST - HORIZON) -> np.ndarray:
    """Score by a ridge regression: a light penalty trusts what fitted, a heavy one weighs all alike."""
    x = np.stack([by_date(c, observed(panel, slice(None))) for c in columns_of(panel)], axis=2)
    return x @ slopes(panel, x, last, strength)


def best(panel: Panel, scores: list[np.ndarray], rows: slice) -> np.ndarray:
    """Return the score with the highest rank IC on some rows."""
    label = labels_of(panel, None if rows.stop is None else rows.stop - 1)[rows]
    return scores[int(np.argmax([mean_over_dates(rank_information_coefficient(s[rows], label)) for s in scores]))]


def stopped_on_test(panel: Panel) -> np.ndarray:
    """Go down the gradient, and keep the step whose error on test dates is least."""
    x = np.stack([by_date(c, observed(panel, slice(None))) for c in columns_of(panel)], axis=2)
    y, beta, steps = labels_of(panel), np.zeros(x.shape[2]), []
    known = ~np.isnan(y[START : FIRST - HORIZON + 1])
    a, b = x[START : FIRST - HORIZON + 1][known], y[START : FIRST - HORIZON + 1][known]
    for _ in range(40):
        beta = beta + 0.1 * a.T @ (b - a @ beta) / len(b)
        steps.append(x @ beta)
    return tested(panel, steps[int(np.argmin([np.nanmean((step - y)[FIRST:] ** 2) for step in steps]))])


def ranked_over_time(panel: Panel) -> np.ndarray:
    return forecast(panel, [pd.DataFrame(c).rank(pct=True).to_numpy() - 0.5 for c in columns_of(panel)], scaled=False)


def not_purged(panel: Panel) -> np.ndarray:
    return forecast(panel, columns_of(panel), last=FIRST - 1)


def comebacks_known(panel: Panel) -> np.ndarray:
    """Fit on labels that know, from what comes after, whether a firm that is off the list has left for good."""
    x = np.stack([by_date(c, observed(panel, slice(None))) for c in columns_of(panel)], axis=2)
    return tested(panel, x @ slopes(panel, x, FIRST - HORIZON, 10.0, labels_of(panel)))


def calibrated_on_all_dates(panel: Panel) -> np.ndarray:
    score, label = honest(panel), labels_of(panel)
    known = np.isfinite(score * label)
    return score * (score[known] @ label[known] / (score[known] @ score[known]))


def codes_of_today(panel: Panel) -> np.ndarray:
    """Average returns over industries as they are at the end."""
    codes, returns = panel.industry[-1], np.nan_to_num(panel.returns)
    same = (codes[:, None] == codes).astype(float)
    return forecast(panel, [returns @ (same / same.sum(axis=0))])


def chosen_over_all_dates(panel: Panel) -> np.ndarray:
    """Weigh features by their information coefficient over all dates."""
    label, there = labels_of(panel), observed(panel, slice(None))
    columns = [by_date(c, there) for c in columns_of(panel)]
    weights = [mean_over_dates(rank_information_coefficient(c, label)) for c in columns]
    return tested(panel, sum(w * c for w, c in zip(weights, columns, strict=True)))


def clipped_by_all_dates(panel: Panel) -> np.ndarray:
    there = panel.listed
    columns = [np.clip(c, *np.nanquantile(c[there], [0.05, 0.95])) for c in columns_of(panel)]
    return forecast(panel, columns, scaled=False)


def components_of_all_dates(panel: Panel) -> np.ndarray:
    """Turn features into the principal components of all dates."""
    x = np.stack([by_date(c, observed(panel, slice(None))) for c in columns_of(panel)], axis=2)
    flat = x.reshape(-1, x.shape[2])
    return forecast(panel, list(np.moveaxis(x @ np.linalg.eigh(flat.T @ flat)[1], 2, 0)), scaled=False)


def tomorrows_return(panel: Panel) -> np.ndarray:
    return forecast(panel, [np.vstack([panel.returns[1:], np.zeros((1, panel.shape[1]))])])


def unlisted_counted(panel: Panel) -> np.ndarray:
    """Take a date's mean over all that stands there, listed or not."""
    quality = panel.features[:, :, 1]
    above = quality - np.nan_to_num(quality).mean(axis=1, keepdims=True)
    return forecast(panel, [above], scaled=False)


def by_what_they_earn(panel: Panel) -> Panel:
    """Sort firms by their mean return of all dates."""
    return panel[:, np.argsort(np.nanmean(panel.returns, axis=0))]


def known_by_place(panel: Panel) -> np.ndarray:
    place = np.broadcast_to(np.arange(panel.shape[1]) / 10.0, panel.shape)
    return forecast(panel, [*columns_of(panel), place], scaled=False)


def as_reported(panel: Panel, table: pd.DataFrame, rule: Rule | None = None) -> np.ndarray:
    earnings = look_up(panel, table, ["earnings"], stale_after=None, rule=rule).values[:, :, 0]
    return forecast(panel, [*columns_of(panel), earnings])


def dated_by_period(panel: Panel, reports: pd.DataFrame) -> np.ndarray:
    return as_reported(panel, reports.assign(available=reports["period_end"]))


def restated(panel: Panel, reports: pd.DataFrame) -> np.ndarray:
    """Use the latest version of a report from the day of its first."""
    grouped = reports.sort_values("available").groupby(["firm", "period_end"], as_index=False)
    return as_reported(panel, grouped.agg(available=("available", "first"), earnings=("earnings", "last")))


PLANTED = {
    "features scaled over all dates": Leak(scaled_over_all_dates, group="feature value"),
    "price divided by the firm's maximum": Leak(divided_by_maximum, group="price"),
    "gaps, made by labels, filled by repeating rows": Leak(gaps_made_by_labels, group="returns"),
    "gaps filled with rows and their labels": Leak(rows_repeated_with_labels, "realised returns"),
    "the target, noisy, among features": Leak(target_in_features, group="returns"),
    "centred moving average": Leak(centred_average, group="returns"),
    "missing features filled backwards": Leak(filled_backwards, group="feature value"),
    "survivors only": Leak(survivors, group="listings"),
    "the largest firms of the last day": Leak(largest_at_the_end, group="market_cap"),
    "penalty chosen on test dates": Leak(tuned_on_test, group="returns"),
    "early stopping on test dates": Leak(stopped_on_test, group="returns"),
    "ranks over time, not across firms": Leak(ranked_over_time, group="feature quality"),
    "labels that reach into the test": Leak(not_purged, group="returns"),
    "labels that know who will come back": Leak(comebacks_known, group="listings"),
    "calibration on all dates": Leak(calibrated_on_all_dates, group="returns"),
    "industries as they are today": Leak(codes_of_today, group="industry codes"),
    "features weighed over all dates": Leak(chosen_over_all_dates, group="returns"),
    "clipped at quantiles of all dates": Leak(clipped_by_all_dates, group="feature value"),
    "principal components of all dates": Leak(components_of_all_dates, group="feature value"),
    "a return shifted the wrong way": Leak(tomorrows_return, group="returns"),
    "firms that are not listed counted": Leak(unlisted_counted, "absent firms"),
    "firms sorted by what they will earn": Leak(known_by_place, "order of firms", arranged=by_what_they_earn),
    "fundamentals dated by their period": Leak(dated_by_period, group="reports", reports=True),
    "restated fundamentals from the first day": Leak(restated, group="reports", reports=True),
}
