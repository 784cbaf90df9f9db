"""What an audit comes to, in plain words, by rules that are written down here and nowhere else.

A model has *skill* where its rank IC is above 0 at a one-sided p below 0.05, on at least 20 dates. Without it nothing
else is believed, and nothing where fits that differ by their seed alone were not shown to forecast alike.
Of a method and a kind of key it is said that its map

- *finds what matters*, where taking away its heaviest keys costs rank IC beyond random order;
- *says by how much*, where it foretells losses of the score better than its own values shuffled;

unless it is *insensitive* (much the same for a model that forgot what it learnt), *unstable* (no more alike over
seeds than chance gives), *worse than chance* (taking away its heaviest keys costs less than random order) or, for
attention, *not needed* (a refit whose attention is frozen even was not shown to be worse). "Beyond" and "better" mean
that the 95% interval excludes chance. Each interval is for itself: of many methods and kinds at once, one in forty is
beyond chance by chance.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from finattn.explain.randomisation import insensitive
from finattn.explain.weights import LOOKED
from finattn.words import joined

LEVEL = 0.05
FEW = 4  # dates that have no interval
DATES = 20  # on which skill can be judged
SAME = 0.95  # rank correlation of scores from which forecasts count as kept
_KINDS = {"lag": "days", "peer": "peers", "feature": "characteristics", "reference": "reference firms"}


@dataclass(frozen=True)
class Verdict:
    """What may be believed.

    Parameters
    ----------
    trusted : whether at least one method may be believed about one kind.
    headline : the verdict in one sentence. sentences : what it rests on, one a check.
    believed : by "method (kind)", what is believed of it. doubted : by the same, why it is not.

    Examples
    --------
    >>> import numpy as np
    >>> import finattn as fa
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.explain import Checks
    >>> panel = fa.sample()["2020":"2020"]
    >>> blocks = fa.Blocks(panel, np.array([60, 120]), fa.Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> untrained = fa.PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> verdict = fa.audit(untrained, blocks, checks=Checks(("saliency",), dates=1, firms=1, shaken=1, draws=1)).verdict
    >>> verdict.trusted, verdict.doubted["saliency (lag)"]
    (False, 'too few dates')
    """

    trusted: bool
    headline: str
    sentences: tuple[str, ...]
    believed: Mapping[str, str]
    doubted: Mapping[str, str]

    def __str__(self) -> str:
        """Return all of it as text."""
        return "\n".join([self.headline, *self.sentences])


def judge(table: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> Verdict:
    """Return the verdict of an audit's table and details."""
    skill = details["skill"].iloc[0]
    skilled = bool(skill["p_one_sided"] < LEVEL and skill["dates"] >= DATES)
    believed, doubted = _methods(table, details)
    sentences = [_skill(skill, skilled), *_found(believed, doubted), *_words(details)]
    lacking = _lacking(skill, skilled, details)
    if lacking:
        headline, why = lacking
        doubted = {name: why for name in {**believed, **doubted}}
        headline = f"Explanations of this model cannot be trusted: {headline}."
        return Verdict(False, headline, (sentences[0], *_words(details)), {}, doubted)
    if not believed:
        headline = "Explanations of this model cannot be trusted: none was shown to find what its forecasts rest on."
        return Verdict(False, headline, tuple(sentences), {}, doubted)
    headline = f"Of this model one may believe {joined(list(believed))}; all else was not shown."
    return Verdict(True, headline, tuple(sentences), believed, doubted)


def _lacking(skill: pd.Series, skilled: bool, details: Mapping[str, pd.DataFrame]) -> tuple[str, str] | None:
    """Say, in the headline's words and in few, why nothing can be believed of the model."""
    if skill["dates"] < DATES:
        return f"its skill cannot be judged on {skill['dates']:.0f} dates, where {DATES} are asked", "too few dates"
    if not skilled:
        return "its forecasts are no better than chance", "the model has no skill"
    apart = details.get("apart")
    if apart is not None and not (apart["rank_correlation_lower"].fillna(apart["rank_correlation"]) > 0).all():
        return "fits that differ by their seed alone do not forecast alike", "its fits do not forecast alike"
    return None


def _methods(table: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> tuple[dict[str, str], dict[str, str]]:
    """Return by method and kind what is believed, and of the others why not."""
    same = set(insensitive(details["randomisation"]))
    idle = "frozen" in details and not bool(details["frozen"]["p_one_sided"].iloc[0] < LEVEL)
    claims = {"deletion": "finds what matters", "infidelity": "says by how much"}
    believed: dict[str, str] = {}
    doubted: dict[str, str] = {}
    for (method, kind), part in table[table["check"].isin(claims)].groupby(["method", "kind"], sort=False):
        name = f"{method} ({kind})"
        shown = [says for check, says in claims.items() if _beyond(part[part["check"] == check], check)]
        if name in same:
            doubted[name] = "its map is much the same when the model has forgotten what it learnt"
        elif _unstable(table, str(method), str(kind)):
            doubted[name] = "its maps are no more alike over seeds than by chance"
        elif method in LOOKED and idle:
            doubted[name] = "that attention is needed was not shown"
        elif _worse(part[part["check"] == "deletion"]):
            doubted[name] = "taking away what it calls heavy costs less than random order"
        elif shown:
            believed[name] = " and ".join(shown)
        else:
            doubted[name] = "it was not shown to find what matters, or by how much"
    return believed, doubted


def _beyond(rows: pd.DataFrame, check: str) -> bool:
    """Return whether the interval lies on the good side of chance; without one nothing is shown."""
    if check == "infidelity":
        return bool((_end(rows, "upper") < rows["chance"]).any())
    return bool((rows["lower"] > rows["chance"]).any())


def _worse(rows: pd.DataFrame) -> bool:
    """Return whether the interval lies on the wrong side of chance."""
    return bool((rows["upper"] < rows["chance"]).any())


def _unstable(table: pd.DataFrame, method: str, kind: str) -> bool:
    rows = table[(table["check"] == "seeds") & (table["method"] == method) & (table["kind"] == kind)]
    return bool(len(rows)) and not bool((_end(rows, "lower") > rows["chance"]).all())


def _end(rows: pd.DataFrame, end: str) -> pd.Series:
    """Return an end of the intervals: the value itself where it is the same on all dates, which has no interval.

    For figures whose dates do not overlap (`over_dates`): of these no others lack one on so many dates.
    """
    return rows[end].where(rows[end].notna() | (rows["dates"] < FEW), rows["value"])


# -- words ------------------------------------------------------------------------------------------------------------


def _skill(skill: pd.Series, skilled: bool) -> str:
    has = "has skill" if skilled else "has no skill that was shown"
    return (
        f"The model {has}: rank IC {skill['rank_ic']:.3f} ± {skill['standard_error']:.3f} (standard error) on "
        f"{skill['dates']:.0f} dates, one-sided p = {skill['p_one_sided']:.2g}."
    )


def _found(believed: Mapping[str, str], doubted: Mapping[str, str]) -> list[str]:
    """Say which methods are believed about what, and which are not and why."""
    groups: dict[str, list[str]] = {}
    for name, says in believed.items():
        groups.setdefault(f"believed: it {says}", []).append(name)
    for name, why in doubted.items():
        groups.setdefault(f"not believed: {why}", []).append(name)
    return [f"{joined(names)} {'is' if len(names) == 1 else 'are each'} {says}." for says, names in groups.items()]


def _words(details: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say what the checks of attention found, those that were made."""
    said = [says(row, details) for check, says in _SAYS.items() if check in details for row in _rows(details[check])]
    return [re.sub(r"(?<!\w)-(?=\d)", "−", sentence) for sentence in said if sentence]


def _rows(found: pd.DataFrame) -> list[pd.DataFrame]:
    """Return a check's rows kind by kind."""
    if "kind" not in found:
        return [found]
    return [part for _, part in found.groupby("kind", sort=False)]


def _agreement(part: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> str:
    clear = int((part["kendall_lower"] > 0).sum())
    least, most = part["kendall"].min(), part["kendall"].max()
    values = f"{least:.2f} to {most:.2f}" if len(part) > 1 else f"{most:.2f}"
    return (
        f"About {_kind(part)} attention agrees with the other methods by a Kendall's tau of {values}, where chance "
        f"gives 0; {clear} of {len(part)} beyond chance."
    )


def _replaced(part: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> str:
    row = part[part["setting"] == "uniform"].iloc[0]
    return (
        f"With attention over {_kind(part)} made even, rank IC changes by {row['rank_ic_change']:+.3f} (95%: "
        f"{_ends(row, 'rank_ic_change')}), and the order of firms keeps a rank correlation of "
        f"{row['rank_correlation']:.2f} with the model's own."
    )


def _adversary(part: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> str:
    if part["kind"].iloc[0] == "all":  # the same copies, already spoken of kind by kind
        return ""
    same = part[part["rank_correlation"] >= SAME]
    if same.empty:
        return (
            f"No copy that was trained to look elsewhere among {_kind(part)} kept the forecasts (rank correlation of "
            f"{SAME:g} or more): other weights were not found, which does not mean that there are none."
        )
    row = same.iloc[int(same["distance"].argmax())]
    apart = details.get("apart")
    own = part[:0] if apart is None else apart[apart["kind"] == row["kind"]]
    beside = f", where fits that differ by their seed are {own['distance'].iloc[0]:.2f} apart" if len(own) else ""
    beyond = len(own) and row["distance_lower"] > own["distance_upper"].iloc[0]
    so = ": the same forecasts would have told another story" if beyond else ""
    return (
        f"A copy trained to look elsewhere among {_kind(part)} moved its weights by a Jensen-Shannon distance of "
        f"{row['distance']:.2f} and kept the order of firms (rank correlation {row['rank_correlation']:.2f})"
        f"{beside}{so}."
    )


def _apart(part: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> str:
    row = part.iloc[0]
    if row["kind"] != details["apart"]["kind"].iloc[-1]:  # forecasts are the same for each kind of key
        return ""
    return (
        f"Fits that differ by their seed alone order firms alike by a rank correlation of {row['rank_correlation']:.2f}"
        f" (95%: {_ends(row, 'rank_correlation')})."
    )


def _frozen(part: pd.DataFrame, details: Mapping[str, pd.DataFrame]) -> str:
    row = part.iloc[0]
    so = "attention earns its place" if row["p_one_sided"] < LEVEL else "that attention is needed was not shown"
    return (
        f"Refitted with attention frozen even, rank IC is {row['uniform_rank_ic']:.3f} beside {row['rank_ic']:.3f}, a "
        f"difference of {row['difference']:+.3f} ± {row['standard_error']:.3f} (one-sided p = "
        f"{row['p_one_sided']:.2g}): {so}."
    )


def _ends(row: pd.Series, figure: str) -> str:
    lower, upper = row[f"{figure}_lower"], row[f"{figure}_upper"]
    return "not known on so few dates" if pd.isna(lower) else f"{lower:+.3f} to {upper:+.3f}"


def _kind(part: pd.DataFrame) -> str:
    kind = str(part["kind"].iloc[0])
    return _KINDS.get(kind, "all kinds of key")


_SAYS: dict[str, Callable[[pd.DataFrame, Mapping[str, pd.DataFrame]], str]] = {
    "agreement": _agreement,
    "replaced": _replaced,
    "apart": _apart,
    "adversary": _adversary,
    "frozen": _frozen,
}
