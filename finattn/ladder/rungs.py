"""The rungs of the ladder: what each adds, which it is compared with, and what it may be tuned over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from finattn.baselines import (
    Boosting,
    ElasticNet,
    HistoricalMean,
    KernelRegression,
    Momentum,
    Ridge,
    SICKernel,
    Zero,
)
from finattn.config import Axis, RunConfig
from finattn.config.require import require
from finattn.errors import InputError
from finattn.experiment import Forecaster
from finattn.panel import Panel

MOST_TRIALS = 4
_FLAT = 100.0  # bandwidth, in units of characteristics ranked to [-1, 1]
Settings = Mapping[str, Any]
Base = Callable[[str, int], Forecaster]
"""Gives the forecaster of a rung further down, as it was tuned, for a seed."""


@dataclass(frozen=True)
class LadderRung:
    """A forecaster with the few settings that it may be tuned over.

    Parameters
    ----------
    name : of the forecaster.
    adds : what it adds to the rung that it is compared with, in plain words.
    below : the rung that it is compared with; None for the lowest.
    make : gives a fresh forecaster of settings and a seed; `Base` gives it those of rungs further down.
    trials : settings, at most four: the one with the highest rank IC on the first fold's validation dates is taken for
        all folds.
    seeded : whether chance is in it, so that it is fitted once a seed.
    nested : whether it holds the rung below as a special case, which makes Clark and West's test right for the two.
    bases : rungs that `make` asks for.

    Raises
    ------
    InputError
        For no trial, and for more than four: every rung has the same budget.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.baselines import Momentum
    >>> from finattn.ladder import LadderRung, standard
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> make = lambda settings, seed, base: Momentum((settings["window"],))
    >>> mine = LadderRung("mine", "a year's return", "zero", make, ({"window": 21}, {"window": 252}))
    >>> fa.climb(panel, [standard()[0], mine], splits).trials[["rung", "settings", "chosen"]]
       rung         settings  chosen
    0  zero               {}    True
    1  mine   {"window": 21}   False
    2  mine  {"window": 252}    True
    """

    name: str
    adds: str
    below: str | None
    make: Callable[[Settings, int, Base], Forecaster]
    trials: tuple[Settings, ...] = ({},)
    seeded: bool = False
    nested: bool = False
    bases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a budget that others do not have."""
        fits = 1 <= len(self.trials) <= MOST_TRIALS
        require(f"trials of rung {self.name!r}", len(self.trials), fits, f"from 1 to {MOST_TRIALS}")


def standard(config: RunConfig | None = None) -> tuple[LadderRung, ...]:
    """Return the rungs of the standard ladder, the lowest first.

    Attention starts from a rung below, so that it must earn what it changes (see `finattn.training.TrainedForecaster`):
    along firms from the look-up, along time and along both from ridge. "firm_alone", "time_alone" and "both_alone" are
    the same models without that start.

    Parameters
    ----------
    config : sizes and training of the attention models, and what the baselines choose among.

    Returns
    -------
    Rungs that `climb` takes, all or a part of them.

    Examples
    --------
    >>> [rung.name for rung in standard()][:4], len(standard()[3].trials)
    (['zero', 'historical_mean', 'momentum', 'ridge'], 4)
    """
    config = config or RunConfig()
    return (*_plain(config), _look_up(config), _lstm(config), *_attention(config))


def _plain(config: RunConfig) -> tuple[LadderRung, ...]:
    chosen = config.baselines
    # With ten peers at least the level is mostly two digits. The flat kernel is the plain average, so that the rung
    # holds the one below; narrow ones are for codes whose firms differ.
    first, *more = chosen.peer_windows[: MOST_TRIALS - 1]
    windows = ((first, 10), (first, chosen.minimum_peers), *((window, 10) for window in more))
    peers = tuple({"window": window, "minimum_peers": least} for window, least in windows)
    bandwidths = (_FLAT, 1.0, _FLAT, 2.0)
    kernels = tuple(trial | {"bandwidth": width} for trial, width in zip(peers, bandwidths))  # noqa: B905 - fewer windows, fewer trials
    return (
        LadderRung("zero", "nothing", None, lambda settings, seed, base: Zero()),
        LadderRung("historical_mean", "a firm's own mean", "zero", lambda settings, seed, base: HistoricalMean()),
        LadderRung(
            "momentum", "a firm's own trailing return", "zero",
            lambda settings, seed, base: Momentum((settings["window"],)),
            tuple({"window": window} for window in chosen.momentum_windows[:MOST_TRIALS]),
        ),
        LadderRung(
            "ridge", "returns and characteristics, linearly", "momentum",
            lambda settings, seed, base: Ridge((settings["strength"],), chosen.ridge_lookback),
            tuple({"strength": strength} for strength in (0.01, 0.1, 1.0, 10.0)),
        ),
        LadderRung(
            "elastic_net", "some of them left out", "ridge",
            lambda settings, seed, base: ElasticNet(
                (settings["strength"],), (settings["ratio"],), chosen.ridge_lookback
            ),
            _grid(strength=chosen.elastic_net_strengths, ratio=chosen.elastic_net_ratios),
        ),
        LadderRung(
            "boosting", "curves and interactions", "ridge",
            lambda settings, seed, base: Boosting((settings["rate"],), (settings["leaves"],), seed=seed),
            _grid(rate=chosen.boosting_rates, leaves=chosen.boosting_leaves), seeded=True,
        ),
        LadderRung(
            "sic_average", "returns of firms with the same code", "zero",
            lambda settings, seed, base: SICKernel((settings["window"],), (), settings["minimum_peers"]),
            peers,
        ),
        LadderRung(
            "sic_kernel", "weights by likeness within the code", "sic_average",
            lambda settings, seed, base: SICKernel(
                (settings["window"],), (settings["bandwidth"],), settings["minimum_peers"]
            ),
            kernels,
        ),
        LadderRung(
            "kernel_regression", "a bandwidth per characteristic, in place of codes", "sic_kernel",
            lambda settings, seed, base: KernelRegression((settings["window"],), seed=seed),
            tuple({"window": window} for window in chosen.peer_windows[:MOST_TRIALS]), seeded=True,
        ),
    )  # fmt: skip


def _grid(**choices: Sequence[Any]) -> tuple[Settings, ...]:
    """Return the combinations of settings, as many as the budget has."""
    return tuple(dict(zip(choices, values, strict=True)) for values in product(*choices.values()))[:MOST_TRIALS]


def _look_up(config: RunConfig) -> LadderRung:
    windows = config.baselines.look_up_windows

    def make(settings: Settings, seed: int, base: Base) -> Forecaster:
        from finattn.look_up import LookUpConfig
        from finattn.training import LookUpForecaster, look_up_training  # Lightning takes two seconds to import

        training = replace(look_up_training(config.training), learning_rate=settings["learning_rate"])
        look_up = LookUpConfig(windows=windows, heads=settings["heads"], slope=settings["slope"])
        return LookUpForecaster(look_up, training, seed)

    sizes = ((2, 1e-2), (1, 5e-3))
    trials = [{"heads": heads, "learning_rate": rate, "slope": slope} for slope in (0.1, -0.1) for heads, rate in sizes]
    adds = "a direction: what a firm looks for and how it presents itself"
    return LadderRung("look_up", adds, "kernel_regression", make, tuple(trials), seeded=True)


def _lstm(config: RunConfig) -> LadderRung:
    def make(settings: Settings, seed: int, base: Base) -> Forecaster:
        from finattn.recurrent import RecurrentForecaster

        sizes = replace(config.model, dropout=settings["dropout"], lookback=settings["lookback"])
        return RecurrentForecaster(sizes, config.training, seed)

    lookbacks = (min(20, config.model.lookback), config.model.lookback)
    trials = _grid(dropout=(0.1, 0.3), lookback=tuple(dict.fromkeys(lookbacks)))
    return LadderRung("lstm", "a memory of past days", "ridge", make, trials, seeded=True)


def _attention(config: RunConfig) -> tuple[LadderRung, ...]:
    """Return the attention models; each trial is a dropout and a length of training blocks."""
    blocks = (config.training.block, max(10, config.training.block // 5))
    trials = tuple({"dropout": dropout, "block": block} for dropout in (0.1, 0.3) for block in blocks)

    def rung(name: str, adds: str, below: str, axes: tuple[Axis, ...], base: str | None, **model: Any) -> LadderRung:
        def make(settings: Settings, seed: int, given: Base) -> Forecaster:
            from finattn.training import AttentionForecaster

            sizes = replace(config.model, dropout=settings["dropout"], **model)
            training = replace(config.training, block=settings["block"])
            return AttentionForecaster(axes, sizes, training, seed, base=given(base, seed) if base else None)

        return LadderRung(name, adds, below, make, trials, True, below == base, (base,) if base else ())

    linear: dict[str, Any] = {"normaliser": "linear", "positions": "none"}
    return (
        rung("firm", "self-attention over firms", "look_up", ("firm",), "look_up"),
        rung("stacked", "peers of peers", "firm", ("firm", "firm"), "look_up"),
        rung("linear", "attention without a softmax", "firm", ("firm",), "look_up", **linear),
        rung("time", "which past day matters", "ridge", ("time", "time"), "ridge"),
        rung("both", "both axes", "time", ("time", "firm"), "ridge"),
        rung("firm_alone", "the same without that start", "firm", ("firm",), None),
        rung("time_alone", "the same without that start", "time", ("time", "time"), None),
        rung("both_alone", "the same without that start", "both", ("time", "firm"), None),
    )


def select(config: RunConfig, panel: Panel) -> tuple[LadderRung, ...]:
    """Return the rungs that a configuration names, or all that a panel allows.

    Without industry codes there are no SIC peers, and without characteristics no kernels and no look-up, nor what
    starts from it. A rung whose own rung below is not there is compared with the nearest one that is.

    Parameters
    ----------
    config : `ladder.rungs` are the names, none for all; the rest as of `standard`. panel : with its features built.

    Returns
    -------
    Rungs, in the order named, by default the lowest first.

    Raises
    ------
    InputError
        For a name that no rung has, and for rungs that the panel does not allow.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import LadderConfig, RunConfig
    >>> from finattn.ladder import select
    >>> [rung.name for rung in select(RunConfig(), fa.sample()["2020":])][:7]  # no characteristics: no kernels
    ['zero', 'historical_mean', 'momentum', 'ridge', 'elastic_net', 'boosting', 'sic_average']
    >>> config = RunConfig(ladder=LadderConfig(rungs=["zero", "ridge"]))
    >>> [(rung.name, rung.below) for rung in select(config, fa.sample()["2020":])]
    [('zero', None), ('ridge', 'zero')]
    """
    rungs = standard(config)
    known = {rung.name: rung for rung in rungs}
    unknown = [name for name in config.ladder.rungs if name not in known]
    require("ladder.rungs", ", ".join(unknown), not unknown, f"among {', '.join(known)}")
    lacking: dict[str, str] = {}
    if not (panel.industry != 0).any():
        lacking |= dict.fromkeys(("sic_average", "sic_kernel"), "industry codes")
    if not panel.feature_names:
        lacking |= dict.fromkeys(("sic_kernel", "kernel_regression", "look_up"), "characteristics")
    lacking |= {rung.name: lacking[base] for rung in rungs for base in rung.bases if base in lacking}
    refused = [name for name in config.ladder.rungs if name in lacking]
    if refused:
        raise InputError(f"ladder.rungs: {refused[0]} needs {lacking[refused[0]]}, found a panel without")
    names = config.ladder.rungs or [name for name in known if name not in lacking]
    chosen = tuple(replace(known[name], below=_nearest(known, name, names)) for name in names)
    check_order(chosen)
    return chosen


def _nearest(known: Mapping[str, LadderRung], name: str, there: Sequence[str]) -> str | None:
    below = known[name].below
    while below is not None and below not in there:
        below = known[below].below
    return below


def check_order(rungs: Sequence[LadderRung]) -> None:
    """Refuse rungs that are not unique, or that come before one that they start from."""
    names = [rung.name for rung in rungs]
    if not names or len(set(names)) < len(names):
        raise InputError(f"rungs must be unique and at least one, found {', '.join(names) or 'none'}")
    for place, rung in enumerate(rungs):
        missing = [name for name in rung.bases if name not in names[:place]]
        if missing:
            raise InputError(f"rung {rung.name!r} starts from {missing[0]!r}, which must come before it, found it not")
