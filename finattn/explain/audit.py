"""How far explanations of a model can be trusted: every check in one table, and a verdict in plain words."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from finattn.blocks import Blocks
from finattn.config.require import require, require_types
from finattn.errors import InputError
from finattn.evaluation.inference import mean_inference, one_sided
from finattn.explain.adversaries import adversaries
from finattn.explain.agreement import agreement, stability_over_days, stability_over_seeds
from finattn.explain.counterfactual import against_uniform, between_seeds, replaced
from finattn.explain.explanation import Explanation, join, plain
from finattn.explain.faithfulness import Curves, Removal, deletion, infidelity, insertion, sample_targets
from finattn.explain.gates import kinds
from finattn.explain.gradients import METHODS, How
from finattn.explain.randomisation import explainers, randomisation, sensitivity
from finattn.explain.scene import Averaged, Target, network, scores
from finattn.explain.verdict import Verdict, judge
from finattn.explain.weights import LOOKED, attention
from finattn.metrics import rank_information_coefficient
from finattn.splits import label_overlap
from finattn.storage import atomic_folder, write_json

COLUMNS = ("check", "method", "kind", "figure", "value", "lower", "upper", "chance", "dates")
_FEW = 5  # firms of a date
_SETS = 12  # of keys taken away together, for each forecast and kind


@dataclass(frozen=True)
class Checks:
    """What is audited, and how thoroughly.

    Parameters
    ----------
    methods : of `explain.attention` and `explain.gradients`.
    dates, firms : forecasts that are explained, so many firms on each of so many dates, evenly spaced.
    shaken : of those dates, how many for the checks that cost most, in which a model forgets and inputs are shaken; on
        each of them at most five firms.
    k : of the heaviest keys that are compared.
    draws : of what is random: networks that forgot, orders, permutations. seed : of them and of the firms.
    removal : how keys are taken away. how : settings of the methods.

    Raises
    ------
    InputError
        For numbers out of their range, and methods that there are not.

    Examples
    --------
    >>> from finattn.explain import Checks, How
    >>> quick = Checks(methods=("attention", "saliency"), dates=5, how=How(steps=8))
    >>> quick.firms, quick.shaken, quick.removal.draws  # as they are unless given
    (6, 4, 2)
    >>> Checks(firms=0)
    Traceback (most recent call last):
    finattn.errors.InputError: firms must be at least 1, found 0
    """

    methods: tuple[str, ...] = ("attention", "saliency", "input_x_gradient", "integrated_gradients")
    dates: int = 16
    firms: int = 6
    shaken: int = 4
    k: int = 5
    draws: int = 3
    seed: int = 0
    removal: Removal = field(default_factory=lambda: Removal(shares=(0.0, 0.1, 0.3, 1.0), draws=2))
    how: How = field(default_factory=lambda: How(steps=8))

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        require_types(self)
        for name in ("dates", "firms", "shaken", "k", "draws"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("seed", self.seed, self.seed >= 0, "at least 0")
        known = (*LOOKED, *METHODS)
        proper = bool(self.methods) and len(set(self.methods)) == len(self.methods) and set(self.methods) <= set(known)
        require("methods", self.methods, proper, f"different ones of {', '.join(known)}")


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found.

    Parameters
    ----------
    table : a row a figure: check, method, kind, figure, value, `lower` and `upper` (95%, block bootstrap over dates),
        `chance` (what a map that knows nothing gives) and dates; NaN where there is none.
    verdict : what it comes to.
    details : the table of each check.
    made : what was audited, and how, as JSON can hold it.

    Examples
    --------
    >>> verdict = Verdict(False, "Nothing was shown.", (), {}, {})
    >>> table = pd.DataFrame([("skill", "", "", "rank_ic", 0.01, -0.02, 0.04, 0.0, 50)], columns=COLUMNS)
    >>> print(Audit(table, verdict, {}, {}))
    Nothing was shown.
    <BLANKLINE>
    check method kind  figure  value  lower  upper  chance  dates
    skill             rank_ic   0.01  -0.02   0.04     0.0     50
    """

    table: pd.DataFrame
    verdict: Verdict
    details: Mapping[str, pd.DataFrame]
    made: Mapping[str, Any]

    def save(self, path: str | Path) -> Path:
        """Write a folder of `audit.json`, with the verdict, `table.parquet`, and a table for each check."""
        with atomic_folder(path) as folder:
            self.table.to_parquet(folder / "table.parquet", index=False)
            for name, table in self.details.items():
                table.to_parquet(folder / f"{name}.parquet", index=False)
            content = {"verdict": asdict(self.verdict), "made": dict(self.made), "details": list(self.details)}
            write_json(folder / "audit.json", content)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; InputError for anything else."""
        folder = Path(path)
        try:
            content = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
            table = pd.read_parquet(folder / "table.parquet")
            details = {name: pd.read_parquet(folder / f"{name}.parquet") for name in content["details"]}
            verdict = content["verdict"] | {"sentences": tuple(content["verdict"]["sentences"])}
            return cls(table, Verdict(**verdict), details, content["made"])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            found = " ".join(str(error).split())[:200]
            raise InputError(f"{folder} must be an audit that finattn saved, found another: {found}") from None

    def __str__(self) -> str:
        """Return the verdict and the table as text."""
        return f"{self.verdict}\n\n{self.table.round(3).to_string(index=False, na_rep='')}"


def audit(
    models: Any,
    blocks: Blocks,
    training: Blocks | None = None,
    uniform: Sequence[Any] = (),
    checks: Checks | None = None,
    name: str = "model",
    on_check: Callable[[str, int, int], None] = lambda check, done, checks: None,
) -> Audit:
    """Test how far one may believe what explanations of a model say.

    ==============  ================================================================================================
    skill           rank IC of the mean score of all fits at all positions: an explanation of noise is noise; for
                    that of a longer time see `with_skill`
    agreement       attention against each other method: Kendall's τ and the overlap of the k heaviest keys
    counterfactual  what the forecasts and their rank IC become with attention made even, permuted, or trained to be
                    elsewhere while forecasts stay (Jain and Wallace 2019), beside how far fits that differ by their
                    seed are apart, and refits whose attention is frozen even (Wiegreffe and Pinter 2019)
    deletion        rank IC that is lost when what a method calls important is taken away first, against random order;
    insertion       that is won when it is put back first
    infidelity      how badly a map foretells what the score loses
    randomisation   whether a map changes when the model forgets what it learnt (Adebayo et al. 2018)
    sensitivity     how far a map moves when inputs are shaken
    stability       of maps over seeds, and over a decision and the next
    ==============  ================================================================================================

    Parameters
    ----------
    models : a fit, or the fits of one model that differ by their seed: networks or fitted forecasters.
    blocks : the panel at the decisions of a test window, scaled as the fits were.
    training : the panel at training positions, on which attention that leads elsewhere is trained; without it that
        check is not made.
    uniform : fits of the same model whose attention was frozen even, as `explain.uniform_twin` has it trained; without
        them that check is not made.
    checks : what is checked, and how thoroughly. name : of the model.
    on_check : told of each check that is done, how many are, and of how many.

    Returns
    -------
    Audit; `print` it. What is explained are the mean scores of all fits.

    Raises
    ------
    InputError
        For no models, one that is no network, and an attention method for a model that has none.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([60, 120]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> untrained = PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> found = audit(untrained, blocks, checks=Checks(methods=("attention", "saliency"), dates=2, firms=5, draws=1))
    >>> print(found.verdict.headline)
    Explanations of this model cannot be trusted: its skill cannot be judged on 2 dates, where 20 are asked.
    """
    checks = checks or Checks()
    fits = [network(one) for one in (models if isinstance(models, Sequence) else [models])]
    if not fits:
        raise InputError("models must be at least one, found none")
    subject = _Subject(fits, blocks, checks)
    details: dict[str, pd.DataFrame] = {}
    planned = _planned(subject, training is not None, bool(uniform))
    for check, table in _details(subject, training, [network(one) for one in uniform]):
        details[check] = table
        if check in planned:
            on_check(check, len(planned.intersection(details)), len(planned))
    return _audited(details, {"model": name, "fits": len(fits), **plain(asdict(checks))})


def with_skill(found: Audit, known: pd.DataFrame) -> Audit:
    """Judge an audit again by the model's `skill` on other dates, such as all test dates of a walk forward."""
    return _audited({**found.details, "skill": known}, found.made)


def _audited(details: Mapping[str, pd.DataFrame], made: Mapping[str, Any]) -> Audit:
    table = pd.concat([_listed(check, details[check]) for check in _FIGURES if check in details], ignore_index=True)
    return Audit(table, judge(table, details), details, made)


class _Subject:
    """What is audited: fits, the mean of their scores, and the forecasts that are explained."""

    def __init__(self, fits: list[Any], blocks: Blocks, checks: Checks) -> None:
        self.fits, self.blocks, self.checks = fits, blocks, checks
        self.mean = fits[0] if len(fits) == 1 else Averaged(fits).eval()
        self.targets = sample_targets(blocks, checks.dates, checks.firms, checks.seed)
        shaken = min(checks.shaken, checks.dates), min(_FEW, checks.firms)
        self.few = sample_targets(blocks, *shaken, checks.seed)
        self.explainers = explainers(checks.methods, checks.how)

    def explained(self, targets: Sequence[Target], fits: Sequence[Any] | None = None) -> Explanation:
        """Explain some forecasts, by default of the mean, by all methods."""
        fits = self.fits if fits is None else fits
        model = self.mean if len(fits) > 1 else fits[0]
        looked = [attention(fits, self.blocks, "model", one, targets) for one in self.checks.methods if one in LOOKED]
        moved = [explain(model, self.blocks, targets) for one, explain in self.explainers.items() if one not in LOOKED]
        return join([*looked, *moved])

    def next_decisions(self) -> list[Target]:
        """Return the explained firms at the decisions that follow, where they have a forecast too."""
        dates, seen = self.blocks.dates, self.blocks.observed
        after = dict(zip(dates[:-1], range(1, len(dates)), strict=True))
        place = {str(firm): column for column, firm in enumerate(self.blocks.panel.firms)}
        moved = [(after[date], firm) for date, firm in self.targets if date in after]
        return [(dates[row], firm) for row, firm in moved if seen[row, place[firm]]]


def _planned(subject: _Subject, training: bool, uniform: bool) -> set[str]:
    """Name the checks to be made."""
    planned = set(_FIGURES)
    if "attention" not in subject.checks.methods:
        planned -= {"agreement", "replaced", "apart", "adversary", "frozen"}
    if len(subject.fits) == 1:
        planned -= {"apart", "seeds"}
    return planned - ({"adversary"} if not training else set()) - ({"frozen"} if not uniform else set())


def _details(subject: _Subject, training: Blocks | None, uniform: list[Any]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the table of each check that can be made."""
    blocks, checks = subject.blocks, subject.checks
    rank_ic = rank_information_coefficient(scores(subject.mean, blocks), blocks.realised)
    yield "skill", skill(rank_ic, label_overlap(blocks.positions, blocks.target.horizon))
    explanation = subject.explained(subject.targets)
    if "attention" in explanation.methods:
        yield "agreement", agreement(explanation, k=checks.k)
        yield from _counterfactual(subject, training, uniform)
    for check, removed in (("deletion", deletion), ("insertion", insertion)):
        curves, areas = _by_kind(subject, explanation, removed)
        yield from ((check, areas), (f"{check}_curves", curves))
    yield "infidelity", infidelity(subject.mean, blocks, explanation, checks.removal.baseline, _SETS, seed=checks.seed)
    first = (subject.fits[0], blocks, subject.few, subject.explainers)
    yield "randomisation", randomisation(*first, seed=checks.seed, draws=checks.draws)
    yield "sensitivity", sensitivity(*first, draws=checks.draws, seed=checks.seed)
    if len(subject.fits) > 1:
        yield "seeds", stability_over_seeds([subject.explained(subject.targets, [fit]) for fit in subject.fits])
    if after := subject.next_decisions():
        both = pd.concat([explanation.table, subject.explained(after).table]).drop_duplicates(
            ["date", "firm", "method", "kind", "key"], ignore_index=True
        )
        yield "days", stability_over_days(Explanation(both), blocks.dates)


def skill(rank_ic: ArrayLike, overlap: int) -> pd.DataFrame:
    """Return the mean rank IC over dates, with its errors and its one-sided p-value.

    Parameters
    ----------
    rank_ic : of each date; NaN where it is not defined. overlap : dates by which labels reach into those that follow.

    Raises
    ------
    InputError
        Where no rank IC is defined.
    """
    known = np.asarray(rank_ic, np.float64)
    if np.isnan(known).all():
        raise InputError("an audit needs dates on which two firms or more are ranked apart, found none")
    found = mean_inference(known, overlap)
    row = {"rank_ic": found.estimate, "lower": found.bootstrap_lower, "upper": found.bootstrap_upper, "chance": 0.0,
           "standard_error": found.standard_error, "p_one_sided": one_sided(found), "dates": found.dates}  # fmt: skip
    return pd.DataFrame([row])


def _counterfactual(
    subject: _Subject, training: Blocks | None, uniform: list[Any]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what becomes of forecasts when attention is other than it was."""
    checks, blocks = subject.checks, subject.blocks
    some = blocks.at(blocks.positions[np.isin(blocks.dates, [date for date, _ in subject.targets])])
    yield "replaced", replaced(subject.fits, some, draws=checks.draws, seed=checks.seed)
    if len(subject.fits) > 1:
        yield "apart", between_seeds(subject.fits, some)
    if training is not None:
        yield "adversary", adversaries(subject.fits, training, some)
    if uniform:
        yield "frozen", against_uniform(subject.fits, uniform, blocks)


def _by_kind(
    subject: _Subject, explanation: Explanation, removed: Callable[..., Curves]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the curves and their areas for each kind of key that can be taken away."""
    curves, areas = [], []
    for kind in kinds(explanation):
        curve, area = removed(subject.mean, subject.blocks, explanation, kind, subject.checks.removal)
        curves.append(curve.assign(kind=kind))
        areas.append(area.assign(kind=kind, chance=0.0))
    return pd.concat(curves, ignore_index=True), pd.concat(areas, ignore_index=True)


# -- one table ---------------------------------------------------------------------------------------------------------

_FIGURES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "skill": (("rank_ic", "lower", "upper", "chance"),),
    "agreement": (
        ("kendall", "kendall_lower", "kendall_upper", ""),
        ("overlap", "overlap_lower", "overlap_upper", "chance_overlap"),
    ),
    "replaced": tuple(
        (name, f"{name}_lower", f"{name}_upper", "")
        for name in ("distance", "change", "rank_correlation", "rank_ic_change")
    ),
    "apart": tuple((name, f"{name}_lower", f"{name}_upper", "") for name in ("distance", "rank_correlation")),
    "adversary": tuple((name, f"{name}_lower", f"{name}_upper", "") for name in ("distance", "rank_correlation")),
    "frozen": (("difference", "lower", "upper", ""),),
    "deletion": (("area", "lower", "upper", "chance"),),
    "insertion": (("area", "lower", "upper", "chance"),),
    "infidelity": (("infidelity", "lower", "upper", "chance"),),
    "randomisation": (
        ("rank_correlation", "lower", "upper", "chance"),
        ("absolute", "absolute_lower", "absolute_upper", "chance"),
    ),
    "sensitivity": (("sensitivity", "lower", "upper", "chance"),),
    "seeds": (("rank_correlation", "lower", "upper", "chance"),),
    "days": (("rank_correlation", "lower", "upper", "chance"),),
}
"""Of each check's table, the figures that are listed: value, ends of the interval, and chance, "" where it is 0."""


def _listed(check: str, found: pd.DataFrame) -> pd.DataFrame:
    """Return a check's figures as rows of the audit's table; of a model that forgets, those when all is forgotten."""
    if "depth" in found:
        found = found[found["depth"] == found["depth"].max()]
    if "setting" in found:  # of attention, which is not its own
        found = found.assign(method=found["setting"])
    if "strength" in found:
        found = found.assign(method=[f"adversary {strength:g}" for strength in found["strength"]])
    parts = []
    for value, lower, upper, chance in _FIGURES[check]:
        columns: dict[str, Any] = {"value": found[value], "lower": found[lower], "upper": found[upper]}
        columns |= {"chance": found[chance] if chance else 0.0, "dates": found["dates"]}
        columns |= {name: found[name] if name in found else "" for name in ("method", "kind")}
        parts.append(pd.DataFrame({"check": check, "figure": value, **columns})[list(COLUMNS)])
    return pd.concat(parts, ignore_index=True)
