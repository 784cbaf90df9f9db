"""The ladder's table: what each rung is worth, what it adds to the rung below, and which may be the best."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from finattn.evaluation import clark_west, holm, mean_inference, model_confidence_set, per_date
from finattn.evaluation.inference import one_sided
from finattn.evaluation.tables import Comparison, compare, contributions, paired_difference
from finattn.forecasts import Forecasts
from finattn.ladder.rungs import LadderRung
from finattn.looks import label, number
from finattn.words import joined

COLUMNS = (
    "rung", "adds", "below", "rank_ic", "standard_error", "lower", "upper", "difference", "difference_error", "p_value",
    "p_holm", "nested", "clark_west_p", "confidence_set_p", "in_confidence_set", "dates",
)  # fmt: skip
PRIMARY = ("firm", "sic_kernel")
WITHOUT_PEERS = (
    "zero", "historical_mean", "momentum", "ridge", "elastic_net", "boosting", "lstm", "time", "time_alone",
)  # fmt: skip
"""Rungs that know nothing of other firms but what characteristics rank."""
_SIZE = 0.10


class Question(NamedTuple):
    """A question that a pair of rungs answers.

    Examples
    --------
    >>> from finattn.ladder import QUESTIONS, Question
    >>> [question.asks for question in QUESTIONS if question.against == "ridge"]
    ['Does attention along time beat ridge?', 'Does attention along both axes beat ridge?']
    >>> Question("Do trees beat ridge?", model="boosting", against="ridge").model
    'boosting'
    """

    asks: str
    model: str
    against: str


QUESTIONS = (
    Question("Do learned peers beat SIC peers?", "firm", "sic_kernel"),
    Question("Does a learned look-up beat a kernel within the code?", "look_up", "sic_kernel"),
    Question("Does direction add to likeness?", "look_up", "kernel_regression"),
    Question("Do peers of peers add to peers?", "stacked", "firm"),
    Question("Does attention along time beat ridge?", "time", "ridge"),
    Question("Does attention along both axes beat ridge?", "both", "ridge"),
    Question("Does attention along both axes beat boosting?", "both", "boosting"),
)


def ladder_table(forecasts: Forecasts, rungs: Sequence[LadderRung]) -> pd.DataFrame:
    """Set every rung beside the one below it.

    `rank_ic` is the mean over dates with HAC error and 95% interval; an undefined date (a forecast that orders nothing)
    counts as zero. `difference` is the mean paired difference to the rung `below`, `p_value` one-sided, that it is no
    better, and `p_holm` adjusts over all rungs. For nested pairs `clark_west_p` is that of Clark and West's test on
    calibrated squared errors. `confidence_set_p` and `in_confidence_set` are of the model confidence set (Hansen, Lunde
    and Nason 2011) of all rungs at 10%, by rank IC: the set holds the best rung in 9 of 10 samples.

    Parameters
    ----------
    forecasts : of all rungs. rungs : as given to `climb`.

    Returns
    -------
    DataFrame with `COLUMNS`, a row a rung, in the order given.

    Raises
    ------
    InputError
        For rungs that the forecasts do not have.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.ladder import ladder_table, standard
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> rungs = standard()[:3]
    >>> found = fa.climb(panel, rungs, splits)
    >>> ladder_table(found.forecasts, rungs)[["rung", "rank_ic", "standard_error", "p_value", "p_holm"]].round(2)
                  rung  rank_ic  standard_error  p_value  p_holm
    0             zero     0.00             NaN      NaN     NaN
    1  historical_mean     0.08            0.07     0.13    0.26
    2         momentum     0.07            0.06     0.14    0.26
    """
    table, overlap = per_date(forecasts), forecasts.overlap
    series = {str(model): contributions(group, "rank_ic") for model, group in table.groupby("model", sort=False)}
    names = [rung.name for rung in rungs]
    best = model_confidence_set(-np.column_stack([series[name] for name in names]), overlap, _SIZE)
    rows = []
    for place, rung in enumerate(rungs):
        own = mean_inference(series[rung.name], overlap)
        row = {
            "rung": rung.name, "adds": rung.adds, "below": rung.below, "rank_ic": own.estimate,
            "standard_error": own.standard_error, "lower": own.lower, "upper": own.upper, "nested": rung.nested,
            "confidence_set_p": best.p_values[place], "in_confidence_set": bool(best.included[place]),
            "dates": own.dates,
        }  # fmt: skip
        if rung.below in series:
            gain = paired_difference(table, overlap, rung.name, rung.below, "rank_ic")
            row |= {"difference": gain.estimate, "difference_error": gain.standard_error, "p_value": one_sided(gain)}
            if rung.nested:
                row["clark_west_p"] = _clark_west(forecasts, rung.name, rung.below)
        rows.append(row)
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    found["p_holm"] = holm(found["p_value"].to_numpy(float))
    return found


def _clark_west(forecasts: Forecasts, model: str, below: str) -> float:
    larger, smaller = forecasts.wide(model), forecasts.wide(below)
    return clark_west(larger.realised, smaller.prediction, larger.prediction, forecasts.overlap).p_value


def answers(forecasts: Forecasts, questions: Sequence[Question] = QUESTIONS) -> tuple[tuple[Question, Comparison], ...]:
    """Answer the questions whose rungs are among the forecasts; only that of `PRIMARY` can be a claim.

    Parameters
    ----------
    forecasts : of the ladder's rungs, or of any models that the questions name. questions : by default `QUESTIONS`.

    Returns
    -------
    Each question asked with the one-sided paired comparison, in rank IC, that answers it; `sentences` says it in words.

    Raises
    ------
    InputError
        For two models that do not forecast the same number of firms on every date.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.ladder import Question, answers
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits)
    >>> ((question, found),) = answers(forecasts, [Question("Does ridge beat a firm's mean?", "ridge", "mean")])
    >>> question.asks, round(found.estimate.estimate, 2), round(found.p_one_sided, 2)
    ("Does ridge beat a firm's mean?", -0.1, 0.92)
    """
    asked = [question for question in questions if {question.model, question.against} <= set(forecasts.models)]
    if not asked:
        return ()
    table, overlap = per_date(forecasts), forecasts.overlap
    return tuple((question, compare(table, overlap, question.model, question.against)) for question in asked)


def rivals(forecasts: Forecasts, found: Sequence[tuple[Question, Comparison]]) -> dict[str, tuple[Comparison, ...]]:
    """Find rungs that know no peers and yet do as well as one whose gain over another's peers was claimed.

    Parameters
    ----------
    forecasts : as given to `answers`. found : as it gave.

    Returns
    -------
    For each model claimed to beat one that knows peers, its comparisons with those of `WITHOUT_PEERS` that it does not
    beat: the paired difference is not above zero at 5%, one-sided. To beat them all it must beat each, so that no
    p-value is adjusted.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import Estimate
    >>> from finattn.ladder import QUESTIONS, rivals
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"ridge": fa.Ridge(), "firm": fa.HistoricalMean()}, splits)
    >>> gain = Estimate(0.1, 0.04, 2.5, 0.01, 0.02, 0.18, 0.02, 0.18, 52, 0)
    >>> found = [(QUESTIONS[0], Comparison("firm", "sic_kernel", "rank_ic", gain, 0.005, True))]
    >>> [one.against for one in rivals(forecasts, found)["firm"]]
    ['ridge']
    """
    claimed = {
        question.model
        for question, answer in found
        if answer.claim and not {question.model, question.against} & set(WITHOUT_PEERS)
    }
    if not claimed:
        return {}
    table, overlap = per_date(forecasts), forecasts.overlap
    plain = [name for name in WITHOUT_PEERS if name in forecasts.models]
    compared = {model: [compare(table, overlap, model, name) for name in plain] for model in claimed}
    return {model: tuple(one for one in pairs if _as_good(one)) for model, pairs in compared.items()}


def _as_good(answer: Comparison) -> bool:
    """Say whether a model is not shown to be above another; a constant lead has no p-value, and is one."""
    return not answer.claim and not (math.isnan(answer.p_one_sided) and answer.estimate.estimate > 0)


def sentences(
    found: Sequence[tuple[Question, Comparison]],
    sharpe: Mapping[str, tuple[float, float]] | None = None,
    as_good: Mapping[str, Sequence[Comparison]] | None = None,
) -> tuple[str, ...]:
    """Say each answer in plain words.

    Parameters
    ----------
    found : as `answers` gives it. sharpe : net Sharpe ratio a year and its standard error of each rung, where known.
    as_good : as `rivals` gives it; an answer that claims a gain from peers names them.

    Examples
    --------
    >>> from finattn.evaluation import Estimate
    >>> gain = Estimate(0.01, 0.02, 0.5, 0.6, -0.03, 0.05, -0.03, 0.05, 100, 0)
    >>> sentences([(QUESTIONS[4], Comparison("time", "ridge", "rank_ic", gain, 0.3, False))])[0]
    'Does attention along time beat ridge? Not beyond luck: rank IC 0.010 ± 0.020 higher than Ridge, one-sided p = 0.3.'
    """
    as_good = as_good or {}
    return tuple(
        _sentence(question, answer, sharpe or {}) + _beside(question, answer, as_good.get(question.model, ()))
        for question, answer in found
    )


def _beside(question: Question, answer: Comparison, as_good: Sequence[Comparison]) -> str:
    """Name those that know no peers and do as well, "" where there is no claim about peers or none does."""
    if not as_good or not answer.claim or question.against in WITHOUT_PEERS:
        return ""
    ordered = sorted(as_good, key=lambda one: one.estimate.estimate)
    parts = [f"{label(one.against)} ({_gain(one)})" for one in ordered]
    knows, do = ("knows", "does") if len(parts) == 1 else ("know", "do")
    return (
        f" But {joined(parts)}, which {knows} no peers, {do} as well, as far as can be told at 5%: what was gained "
        "need not come from peers. In brackets: the rank IC beyond theirs."
    )


def _gain(answer: Comparison) -> str:
    return f"{number(answer.estimate.estimate)} ± {number(answer.estimate.standard_error)}"


def _sentence(question: Question, answer: Comparison, sharpe: Mapping[str, tuple[float, float]]) -> str:
    gain = answer.estimate
    if math.isnan(answer.p_one_sided):
        return f"{question.asks} They cannot be told apart: both order firms alike."
    declared = (question.model, question.against) == PRIMARY
    if answer.claim:
        verdict = "Yes, as declared beforehand" if declared else "It seems so, but this was not the declared comparison"
    else:
        verdict = "Not beyond luck"
    side = "higher" if gain.estimate >= 0 else "lower"
    text = (
        f"{question.asks} {verdict}: rank IC {abs(gain.estimate):.3f} ± {gain.standard_error:.3f} {side} than "
        f"{label(question.against)}, one-sided p = {answer.p_one_sided:.2g}."
    )
    if {question.model, question.against} <= set(sharpe):
        ours, theirs = (sharpe[name] for name in (question.model, question.against))
        text += (
            f" After costs the Sharpe ratio is {number(ours[0], 2)} ± {number(ours[1], 2)} against "
            f"{number(theirs[0], 2)} ± {number(theirs[1], 2)}."
        )
    return text
