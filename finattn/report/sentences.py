"""What the tables say, in sentences that claim no more than the tables show.

A difference is called one only where its p-value is below 5%: after Holm's correction, except for the one comparison
that was declared before the run. "±" is one standard error throughout.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from finattn.looks import MISSING as MISSING
from finattn.looks import number as number
from finattn.words import joined

LEVEL = 0.05
# Of US stocks with 920 predictors neural networks reach a Sharpe ratio of 2.45 a year before costs and an R² of 0.4% a
# month (Gu, Kelly and Xiu 2020), a correlation of about 0.06.
MOST_SHARPE, MOST_RANK_IC = 4.0, 0.2
PHRASES = {
    "zero": "the zero forecast",
    "historical_mean": "the historical mean",
    "ridge": "ridge",
    "sic_average": "the SIC average",
    "sic_kernel": "the SIC kernel",
    "time": "attention along time",
    "firm": "attention along firms",
    "both": "attention along time and firms",
    "elastic_net": "the elastic net",
    "kernel_regression": "kernel regression",
    "look_up": "the learned look-up",
    "lstm": "the LSTM",
}


class Result(NamedTuple):
    """A number with what is known of its error; every field may be NaN."""

    estimate: float
    standard_error: float
    p_value: float = math.nan
    p_holm: float = math.nan
    lower: float = math.nan
    upper: float = math.nan

    @property
    def defined(self) -> bool:
        """Whether there is a number with a standard error."""
        return math.isfinite(self.estimate) and math.isfinite(self.standard_error)


def phrase(model: str) -> str:
    """Return the words for a model inside a sentence.

    Examples
    --------
    >>> phrase("both"), phrase("mine")
    ('attention along time and firms', 'mine')
    """
    return PHRASES.get(model, model)


def plus_minus(estimate: float, error: float, digits: int = 3) -> str:
    """Write an estimate with its standard error.

    Examples
    --------
    >>> plus_minus(0.0312, 0.0119)
    '0.031 ± 0.012'
    """
    if not math.isfinite(estimate):
        return MISSING
    return f"{number(estimate, digits)} ± {number(error, digits)}"


def p_text(p: float) -> str:
    """Write a p-value as an equation.

    Examples
    --------
    >>> p_text(0.414), p_text(0.0312), p_text(0.00004)
    ('p = 0.41', 'p = 0.031', 'p < 0.001')
    """
    if not math.isfinite(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.{2 if p >= 0.1 else 3}f}"


def find(metrics: pd.DataFrame, model: str, against: str | None = None, metric: str = "rank_ic") -> Result | None:
    """Return a row of the table of metrics, None where there is none."""
    side = metrics["against"].isna() if against is None else metrics["against"] == against
    rows = metrics[(metrics["model"] == model) & (metrics["metric"] == metric) & side]
    if rows.empty:
        return None
    return Result(**{name: float(rows[name].iloc[0]) for name in Result._fields})


def headline(metrics: pd.DataFrame, model: str = "both", against: str = "ridge") -> str:
    """Compare the two models that were named before the run, whichever turned out best.

    Parameters
    ----------
    metrics : the tidy table of a run, see `Result` for the columns that are read.
    model, against : the pair.
    """
    ours, theirs, difference = find(metrics, model), find(metrics, against), find(metrics, model, against)
    for name, found in ((model, ours), (against, theirs)):
        if found is None or not found.defined:
            why = "was not run" if found is None else "has no defined rank IC"
            return f"Rank IC of {phrase(model)} cannot be set against that of {phrase(against)}: {phrase(name)} {why}."
    assert ours is not None and theirs is not None
    opening = (
        f"Rank IC of {phrase(model)} {plus_minus(ours.estimate, ours.standard_error)} against "
        f"{plus_minus(theirs.estimate, theirs.standard_error)} of {phrase(against)}: "
    )
    return opening + verdict(difference, phrase(model), phrase(against)) + "."


def verdict(difference: Result | None, ours: str, theirs: str) -> str:
    """Say which of two is better, or that one cannot tell; Holm's p-value decides where there is one.

    Examples
    --------
    >>> verdict(Result(0.007, 0.009, p_value=0.41), "attention", "ridge")
    'the difference, 0.007 ± 0.009, is not distinguishable from zero (p = 0.41)'
    """
    if difference is None or not difference.defined or not math.isfinite(difference.p_value):
        return "the difference between them is undefined"
    size, p, holm = plus_minus(difference.estimate, difference.standard_error), difference.p_value, difference.p_holm
    adjusted = p if math.isnan(holm) else holm
    if adjusted < LEVEL:
        better = ours if difference.estimate > 0 else theirs
        after = "" if math.isnan(holm) else f"; {p_text(holm).removeprefix('p ').removeprefix('= ')} after Holm"
        gain = plus_minus(abs(difference.estimate), difference.standard_error)
        return f"{better} ranks firms better, by {gain} ({p_text(p)}{after})"
    after = f"; {p_text(holm).removeprefix('p = ')} after Holm" if p < LEVEL else ""
    return f"the difference, {size}, is not distinguishable from zero ({p_text(p)}{after})"


def primary(difference: Result | None, model: str = "firm", against: str = "sic_kernel") -> str:
    """Say what came of the one comparison declared before the run; its p-value is one-sided and not adjusted."""
    pair = f"{phrase(model)} minus {phrase(against)}"
    if difference is None:
        return f"The primary comparison, {pair}, was not made: one of the two was not run."
    if not difference.defined or not math.isfinite(difference.p_value):
        return f"The primary comparison, {pair}, is undefined on these dates."
    opening = f"Primary comparison, declared before the run: {pair}, mean rank IC "
    size = plus_minus(difference.estimate, difference.standard_error)
    if difference.p_value < LEVEL:
        end = f"the claim that {phrase(model)} ranks firms better holds at 5%"
    else:
        end = f"no claim that {phrase(model)} ranks firms better"
    return f"{opening}{size} (one-sided {p_text(difference.p_value)}): {end}."


def counts(metrics: pd.DataFrame, attention: Sequence[str], against: str = "ridge") -> str:
    """Count the attention models that beat a baseline after Holm's correction, those that it beats, and who leads."""
    pairs = {model: pair for model in attention if (pair := find(metrics, model, against)) is not None}
    known = {model: pair for model, pair in pairs.items() if pair.defined}
    if not attention:
        return f"No attention model was run. {leader(metrics, attention)}"
    if not known:
        return f"No attention model can be set against {phrase(against)}."
    better = [model for model, pair in known.items() if _differs(pair) and pair.estimate > 0]
    worse = [model for model, pair in known.items() if _differs(pair) and pair.estimate < 0]
    beat = "beats" if len(better) == 1 or len(known) == 1 else "beat"
    text = f"{_some(len(better), len(known))} {beat} {phrase(against)} after Holm's correction"
    text += f" ({_list(better)})" if better else ""
    text += f"; {phrase(against)} beats {_some(len(worse), len(known)).lower()} ({_list(worse)})" if worse else ""
    return f"{text}. {leader(metrics, attention)}"


def leader(metrics: pd.DataFrame, attention: Sequence[str]) -> str:
    """Name the model with the highest rank IC and say so when it is a plain one."""
    rows = metrics[metrics["against"].isna() & (metrics["metric"] == "rank_ic")].dropna(subset=["estimate"])
    if rows.empty:
        return "No model has a defined rank IC."
    best = str(rows["model"].iloc[int(rows["estimate"].argmax())])
    found = find(metrics, best)
    assert found is not None
    kind = "an attention model" if best in attention else "a plain model"
    p = (
        min(1.0, len(rows) * found.p_value) if math.isfinite(found.p_value) else 1.0
    )  # the highest of several: Bonferroni
    verdict = (
        "" if p < LEVEL and found.estimate > 0 else ", not above zero by more than the highest of so many would be"
    )
    size = plus_minus(found.estimate, found.standard_error)
    return f"The highest rank IC of {len(rows)} is that of {phrase(best)}, {kind}: {size}{verdict}."


def portfolio(sharpes: Mapping[str, Result], delay: int, cost: float | None = None) -> str:
    """Say what the long-short portfolios earn net of costs.

    Parameters
    ----------
    sharpes : annualised net Sharpe ratio of each model to name, with its standard error and 95% interval.
    delay : rows between decision and trade. cost : of a unit traded, a fraction.
    """
    known = {model: sharpe for model, sharpe in sharpes.items() if sharpe.defined}
    if not known:
        return "No portfolio has a defined Sharpe ratio."
    parts = [f"{plus_minus(s.estimate, s.standard_error, 2)} for {phrase(model)}" for model, s in known.items()]
    above = [model for model, s in known.items() if s.lower > 0]
    below = [model for model, s in known.items() if s.upper < 0]
    costs = "costs" if cost is None else f"costs of {cost * 1e4:g} basis points a unit traded"
    when = "one day after the decision" if delay == 1 else "at the decision's close"
    end = f"the 95% interval of {_list(above)} lies above zero" if above else "no 95% interval lies above zero"
    end += f"; that of {_list(below)} below" if below else ""
    end += ", not adjusted for how many there are" if above or below else ""
    return f"Long-short portfolios net of {costs}, traded {when}, have a Sharpe ratio of {joined(parts)}; {end}."


def implausible(
    rank_ic: Mapping[str, float], sharpe: Mapping[str, float], sample: Sequence[str] = ()
) -> tuple[str, ...]:
    """Say where a result is better than markets let anybody be: a sentence, or none.

    Parameters
    ----------
    rank_ic, sharpe : mean rank IC, and Sharpe ratio a year after costs, of each model; NaN for none.
    sample : what is said of the panel; of one that finattn simulated nothing is implausible.

    Examples
    --------
    >>> implausible({"ridge": 0.05}, {"ridge": 1.2}), implausible({}, {"ridge": 9.7}, ["Simulated firms: no market."])
    ((), ())
    >>> implausible({"ridge": 0.14}, {"ridge": 9.7, "both": 10.0})[0][:82]
    'Implausibly good: the net Sharpe ratio of attention along time and firms is 10.00.'
    """
    if any(sentence.startswith("Simulated") for sentence in sample):
        return ()
    kinds = (("net Sharpe ratio", sharpe, MOST_SHARPE, 2), ("mean rank IC", rank_ic, MOST_RANK_IC, 3))
    parts = []
    for name, values, most, digits in kinds:
        best = max(values, key=lambda model: -math.inf if math.isnan(values[model]) else values[model], default=None)
        if best is not None and values[best] > most:
            parts.append(f"the {name} of {phrase(best)} is {number(values[best], digits)}")
    if not parts:
        return ()
    return (
        f"Implausibly good: {', and '.join(parts)}. Above a Sharpe ratio of {MOST_SHARPE:g} or a rank IC of "
        f"{MOST_RANK_IC:g} few dates or a leak are likelier than skill: look for a leak with finattn.look_ahead and "
        "finattn.screen.",
    )


def deflated(found: Mapping[str, Any], model: str) -> str:
    """Say how far the Sharpe ratios of a model and of the run's best are beyond what a search would show.

    Parameters
    ----------
    found : figures of `finattn.ledger.selection`. model : to name beside the best.
    """
    known = {row["model"]: row for row in found["models"] if row["deflated"] is not None}
    if not known:
        return "No Sharpe ratio of this run can be set against the number of trials."
    best = max(known, key=lambda name: known[name]["sharpe"])
    named = [name for name in dict.fromkeys((model, best)) if name in known]
    parts = [f"{_share(known[name]['deflated'])} for {phrase(name)}" for name in named]
    count = int(found["trials"])
    above = f"above what the best of {count} trials would show without skill" if count > 1 else "above zero"
    said = f"Deflated Sharpe ratio, the probability that the true one is {above}: {joined(parts)}"
    return f"{said}, whose Sharpe ratio is this run's highest."


def search(found: Mapping[str, Any], head: str) -> str:
    """Say what the ledger counted as trials on the same data, and what it cannot know.

    Parameters
    ----------
    found : as `deflated`. head : hash of the ledger's newest trial.
    """
    never = int(found["undefined"])
    text = f"The ledger knows {_trials(int(found['trials']))} on data of the same source, or with at least half of the "
    text += f"firms and days in common, this run's among them{f', and {never} that held nothing' if never else ''}. "
    text += "Were the spread of their Sharpe ratios due to luck alone, the best of so many would be expected to show "
    text += (
        f"{number(found['benchmark'], 2)}; where it comes of skill, that is too high a bar. Correlated trials count "
    )
    text += "in full. "
    if terms := found["portfolio"]:
        text += f"Compared are portfolios of {terms['quantiles']} quantiles at {terms['cost'] * 1e4:g} basis points, "
        text += "traded one day after the decision. "
    if overfitting := found["overfitting"]:
        text += f"The probability of backtest overfitting is {_share(overfitting['probability'])} over the "
        text += f"{_trials(int(overfitting['trials']))} with the same {int(overfitting['dates']):,} dates. "
    else:
        text += "The probability of backtest overfitting is undefined: it needs two trials with the same 32 dates. "
    return f"{text}The ledger knows nothing of what was tried elsewhere. Its head: {head}."


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count:,} trials"


def _share(probability: float) -> str:
    """Write a probability with two digits, never as certain."""
    return "< 0.01" if probability < 0.005 else "> 0.99" if probability > 0.995 else f"{probability:.2f}"


def _differs(pair: Result) -> bool:
    p = pair.p_value if math.isnan(pair.p_holm) else pair.p_holm
    return p < LEVEL


def _some(count: int, total: int) -> str:
    if total == 1:
        return "The only attention model" if count else "No attention model"
    return f"{'None' if count == 0 else count} of {total} attention models"


def _list(models: Sequence[str]) -> str:
    return joined([phrase(model) for model in models])


def result_of(row: Mapping[Any, Any]) -> Result:
    """Read a result from anything that has its fields; those that are absent are NaN."""
    return Result(**{name: float(row.get(name, math.nan)) for name in Result._fields})
