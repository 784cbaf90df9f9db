"""From a panel to blocks of tensors; the only module that looks forward in time, and only to cut the target."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch

from finattn.config import TargetConfig
from finattn.data.sic import industry_levels
from finattn.errors import InputError
from finattn.panel import Panel

CLIP = 5.0  # inputs beyond five training standard deviations are cut


class Block(NamedTuple):
    """A stretch of consecutive dates cut from a panel; t date, n firm, m reference firm, f input, g industry level.

    x : [t n f] scaled inputs, 0 where missing, with an indicator for each feature.
    observed : [t n] listed and with a return: only these are attended to, and only these get a forecast.
    target : [t n] compounded forward return, a fraction, 0 where it is not observed. target_observed : [t n].
    industry : [t n g] groups, the finest level first, 0 = unknown. decision : [t] dates on which forecasts are made.
    date : [t] days since 1970. firm : [n] columns of the panel.
    reference : inputs [t m f'] of a universe that firms can attend to, with reference_observed [t m]; or None.
    neighbours : [n n] or [t n n] bool, whom each firm can attend to; or None.
    warmup : the first dates give context and are not scored.
    """

    x: torch.Tensor
    observed: torch.Tensor
    target: torch.Tensor
    target_observed: torch.Tensor
    industry: torch.Tensor
    decision: torch.Tensor
    date: torch.Tensor
    firm: torch.Tensor
    reference: torch.Tensor | None = None
    warmup: int = 0
    reference_observed: torch.Tensor | None = None
    neighbours: torch.Tensor | None = None

    @property
    def scored(self) -> torch.Tensor:
        """Rows [t'] of the decision dates after the warm-up."""
        rows = torch.nonzero(self.decision).squeeze(1)
        return rows[rows >= self.warmup]


def cut(block: Block, rows: slice | torch.Tensor) -> Block:
    """Return some rows of a block, with what stands on them."""
    dated = ["x", "observed", "target", "target_observed", "industry", "decision", "date", "reference"]
    dated += ["reference_observed"] + ["neighbours"] * (block.neighbours is not None and block.neighbours.ndim == 3)
    given = {name: getattr(block, name) for name in dated}
    return block._replace(warmup=0, **{name: x[rows] for name, x in given.items() if x is not None})


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation (f,) of the inputs over the observed firm-days of training rows.

    Inputs are the return, the return in excess of the equal-weighted mean of the date, and the panel's features; each
    is standardised and cut at five standard deviations. A missing one becomes 0, and an indicator says so.

    Examples
    --------
    >>> from finattn.data import sample
    >>> panel = sample()["2020":"2020"]
    >>> Scaling.fit(panel, np.arange(100)).width
    2
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, panel: Panel, rows: np.ndarray) -> Self:
        """Measure inputs on training rows (increasing positions), and on no others."""
        values = _inputs(panel, rows)
        values[~observed(panel, rows)] = np.nan
        flat = values.reshape(-1, values.shape[-1])
        some = ~np.isnan(flat).all(axis=0)
        if not some[0]:
            raise InputError(f"training rows must hold returns, found none in {len(rows)} rows")
        mean, deviation = np.zeros(len(some)), np.ones(len(some))
        mean[some], deviation[some] = np.nanmean(flat[:, some], axis=0), np.nanstd(flat[:, some], axis=0)
        return cls(mean, np.where(deviation > 1e-12, deviation, 1.0))

    @property
    def width(self) -> int:
        """Number of inputs with their indicators, the f of `Block.x`."""
        return 2 * len(self.mean) - 2

    def apply(self, panel: Panel, rows: slice) -> np.ndarray:
        """Return scaled inputs and indicators (t, n, f) of consecutive rows, float32 and finite."""
        values = (_inputs(panel, rows) - self.mean) / self.deviation
        missing = ~np.isfinite(values)
        values[missing] = 0.0
        return np.concatenate([np.clip(values, -CLIP, CLIP), missing[:, :, 2:]], axis=2, dtype=np.float32)


def not_finite(x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Return where inputs [... f] are observed [...] and not finite, a row of places each.

    Examples
    --------
    >>> not_finite(torch.tensor([[1.0], [torch.nan], [torch.inf]]), torch.tensor([True, False, True])).tolist()
    [[2]]
    """
    return (observed & ~torch.isfinite(x).all(-1)).nonzero()


class Reference(NamedTuple):
    """A reference universe: a panel on the same dates, and its own scaling, fitted on training rows."""

    panel: Panel
    scaling: Scaling


class Blocks:
    """A panel seen at some positions: what forecasters fit on and forecast for.

    Parameters
    ----------
    panel : the whole panel; what lies before the positions is context.
    positions : increasing rows at which forecasts are made and scored.
    scaling : fitted on training rows.
    target : horizon and delay.
    reference : a universe that target firms can query: other firms, or risk factors (`factor_panel`).
    neighbours : (n, n) or (t, n, n) bool over the whole panel's rows, whom each firm can attend to.

    Raises
    ------
    InputError
        For positions that are empty, out of order or outside the panel, a reference on other dates, and neighbours of
        another shape or kind.

    Examples
    --------
    >>> panel = Panel(np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]"), ["A"], np.full((10, 1), 0.1))
    >>> blocks = Blocks(panel, np.arange(5, 9), Scaling.fit(panel, np.arange(4)), TargetConfig(horizon=2))
    >>> [(len(block.x), block.warmup) for block in blocks.cut(warmup=3, length=2)]
    [(5, 3), (5, 3)]
    >>> blocks.realised.round(2).ravel().tolist()
    [0.21, 0.21, 0.21, nan]
    """

    def __init__(
        self,
        panel: Panel,
        positions: np.ndarray,
        scaling: Scaling,
        target: TargetConfig,
        reference: Reference | None = None,
        neighbours: np.ndarray | None = None,
    ) -> None:
        positions = np.asarray(positions, dtype=np.int64)
        if not len(positions) or (np.diff(positions) <= 0).any() or positions[0] < 0 or positions[-1] >= len(panel):
            raise InputError(
                f"positions must be increasing rows of the panel's {len(panel)}, found {len(positions)}"
                + (f" from {positions[0]} to {positions[-1]}" if len(positions) else "")
            )
        if reference is not None and not isinstance(reference, Reference):
            raise InputError(f"a reference must be Reference(panel, scaling), found a {type(reference).__name__}")
        if reference is not None and not np.array_equal(reference.panel.dates, panel.dates):
            raise InputError(
                f"a reference must have the panel's {len(panel)} dates, found {len(reference.panel)} or other ones"
            )
        shapes = ((panel.shape[1],) * 2, (len(panel), *(panel.shape[1],) * 2))
        if neighbours is not None and np.shape(neighbours) not in shapes:
            raise InputError(f"neighbours must have shape {shapes[0]} or {shapes[1]}, found {np.shape(neighbours)}")
        if neighbours is not None and np.asarray(neighbours).dtype != bool:
            raise InputError(f"neighbours must be true or false, found {np.asarray(neighbours).dtype}")
        self.panel, self.positions, self.scaling, self.target = panel, positions, scaling, target
        self.reference, self.neighbours = reference, neighbours

    def at(self, positions: np.ndarray) -> "Blocks":
        """Return the same panel seen at other positions."""
        return Blocks(self.panel, positions, self.scaling, self.target, self.reference, self.neighbours)

    @property
    def dates(self) -> np.ndarray:
        """Dates (p,) of the positions."""
        return self.panel.dates[self.positions]

    @property
    def apart(self) -> int:
        """Rows from one position to the next, as is usual."""
        return int(np.median(np.diff(self.positions))) if len(self.positions) > 1 else 1

    @property
    def observed(self) -> np.ndarray:
        """Where a forecast can be made, (p, n) bool."""
        return observed(self.panel, self.positions)

    @cached_property
    def realised(self) -> np.ndarray:
        """Compounded forward returns (p, n), NaN where they are not observed."""
        return forward_returns(self.panel, self.positions, self.target, self._end)

    @property
    def _end(self) -> int:
        """The row on which the last target ends: what comes after it is not known to any of them."""
        return min(int(self.positions[-1]) + self.target.delay + self.target.horizon, len(self.panel) - 1)

    def cut(self, warmup: int, length: int) -> Iterator[Block]:
        """Cut consecutive blocks of at most `length` rows over all positions, each after `warmup` rows of context.

        Rows before the panel's first are not there; whatever the length, each position is scored exactly once.
        """
        first, last = int(self.positions[0]), int(self.positions[-1]) + 1
        for start in range(first, last, length):
            inside = self.positions[(self.positions >= start) & (self.positions < start + length)]
            if len(inside):
                yield self._block(max(start - warmup, 0), start, int(inside[-1]) + 1, inside)

    def _block(self, first: int, start: int, stop: int, inside: np.ndarray) -> Block:
        rows = slice(first, stop)
        decision = np.zeros(stop - first, bool)
        decision[inside - first] = True
        realised = np.full((stop - first, self.panel.shape[1]), np.nan)
        realised[inside - first] = forward_returns(self.panel, inside, self.target, self._end)
        return Block(
            x=torch.from_numpy(self.scaling.apply(self.panel, rows)),
            observed=torch.from_numpy(observed(self.panel, rows)),
            target=torch.from_numpy(np.nan_to_num(realised).astype(np.float32)),
            target_observed=torch.from_numpy(~np.isnan(realised)),
            industry=torch.from_numpy(self._industry(rows)),
            decision=torch.from_numpy(decision),
            date=torch.from_numpy(self.panel.dates[rows].astype(np.int64)),
            firm=torch.arange(self.panel.shape[1]),
            warmup=start - first,
            **self._optional(rows),
        )

    def _industry(self, rows: slice) -> np.ndarray:
        panel = self.panel
        levels = industry_levels(panel.industry[rows], panel.industry_scheme, panel.industry_widths)
        return np.ascontiguousarray(np.moveaxis(levels, 0, 2).astype(np.int32))

    def _optional(self, rows: slice) -> dict[str, torch.Tensor]:
        """Cut what a model may attend to beside the panel's own firms."""
        parts = {}
        if self.reference is not None:
            panel, scaling = self.reference
            parts["reference"] = torch.from_numpy(scaling.apply(panel, rows))
            parts["reference_observed"] = torch.from_numpy(observed(panel, rows))
        if self.neighbours is not None:
            given = np.asarray(self.neighbours, dtype=bool)
            parts["neighbours"] = torch.from_numpy(np.array(given if given.ndim == 2 else given[rows]))
        return parts


def factor_panel(panel: Panel) -> Panel:
    """Return the panel's common factors as a panel of their own, one "firm" a factor: a reference universe.

    Examples
    --------
    >>> dates, returns = np.arange("2020-01-01", "2020-01-03", dtype="datetime64[D]"), np.zeros((2, 3))
    >>> panel = Panel(dates, ["A", "B", "C"], returns, factors=np.full((2, 1), 0.01), factor_names=["market"])
    >>> factor_panel(panel).firms.tolist()
    ['market']
    """
    if panel.factors is None:
        raise InputError("a panel of factors needs factors, found a panel without them")
    return Panel(panel.dates, np.array(panel.factor_names), panel.factors, periods_per_year=panel.periods_per_year)


def observed(panel: Panel, rows: np.ndarray | slice) -> np.ndarray:
    """Say which firms (t, n) are listed and have a return on each of the rows."""
    return panel.listed[rows] & np.isfinite(panel.returns[rows])


def forward_returns(panel: Panel, rows: np.ndarray, target: TargetConfig, until: int | None = None) -> np.ndarray:
    """Compound returns over rows (t + delay, t + delay + horizon] for each row t: Π (1 + r) − 1.

    A firm that leaves the list for good inside keeps the return of the first row on which it is not listed, or, where
    that is not known, `target.missing_delisting_return`; from then on it is cash, and one that left within the delay
    was never bought. A return that is not known, an interruption of the listing, a window that ends after the panel,
    and a firm not observed at t give NaN. Whether a firm that is off the list has left for good is judged by the rows
    up to `until`, by default the panel's last: targets to fit on must not know whether it comes back later.

    Returns
    -------
    (len(rows), n) fractions.
    """
    growth = np.ones((len(rows), panel.shape[1]))
    known, last = observed(panel, rows), last_listed(panel, until)
    held = (rows + target.delay)[:, None] <= last
    for step in range(1, target.delay + target.horizon + 1):
        row = np.minimum(rows + step, len(panel) - 1)
        listed, returns = panel.listed[row], panel.returns[row]
        missing, gone = ~np.isfinite(returns), row[:, None] > last
        known = known & ~(held & ~gone & ~listed) & (rows + step < len(panel))[:, None]
        if step > target.delay:
            known = known & ~(held & ~gone & missing)
            value = np.where(missing, np.where(gone, target.missing_delisting_return, 0.0), returns)
            growth *= np.where(held & (row[:, None] <= last + 1), 1 + value, 1.0)
    return np.where(known, growth - 1, np.nan)


def without_factors(blocks: Blocks) -> np.ndarray:
    """Return realised returns less what the firm's loadings on the panel's factors explain of them: y − Σₖ βₖ fₖ.

    Factors are compounded over the rows of each target. Loadings are by least squares over the blocks' own positions,
    without a constant: on training positions they know nothing of what comes after the last target.

    Returns
    -------
    (p, n) fractions, NaN where `blocks.realised` is, where a factor of the target's rows is not known, and for firms
    with no more targets than factors.

    Raises
    ------
    InputError
        For a panel without factors.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> market, own = random.normal(0, 0.02, (200, 1)), random.normal(0, 0.01, (200, 2))
    >>> panel = Panel(np.arange("2020", 200, dtype="M8[D]"), ["A", "B"], market * [1.0, 0.5] + own,
    ...               factors=market, factor_names=["market"])
    >>> blocks = Blocks(panel, np.arange(150), Scaling.fit(panel, np.arange(150)), TargetConfig(horizon=1))
    >>> np.abs(without_factors(blocks) - own[1:151]).max() < 0.01
    np.True_
    """
    panel, target, realised = blocks.panel, blocks.target, blocks.realised
    if panel.factors is None:
        raise InputError("training.without_factors needs a panel with factors, found one without them")
    window = blocks.positions[:, None] + target.delay + 1 + np.arange(target.horizon)
    factors = (1 + panel.factors[np.minimum(window, len(panel) - 1)]).prod(axis=1) - 1
    known = np.isfinite(realised) & np.isfinite(factors).all(axis=1, keepdims=True)
    known &= known.sum(axis=0) > factors.shape[1]  # a firm with no more targets than factors has no loadings
    factors = np.nan_to_num(factors)
    square = np.einsum("pk,pn,pl->nkl", factors, known, factors)
    products = np.einsum("pk,pn->nk", factors, np.where(known, realised, 0.0))
    loadings = (np.linalg.pinv(square) @ products[..., None])[..., 0]
    return np.where(known, realised - factors @ loadings.T, np.nan)


def last_listed(panel: Panel, until: int | None = None) -> np.ndarray:
    """Return each firm's last listed row (n,) up to one row, by default the panel's last, -1 where there is none.

    The next is its delisting, no interruption, as far as is known then.
    """
    listed = panel.listed if until is None else panel.listed[: until + 1]
    return np.where(listed.any(axis=0), len(listed) - 1 - np.argmax(listed[::-1], axis=0), -1)


def count_missing_delisting_returns(panel: Panel) -> int:
    """Count the firms that leave for good without a known delisting return."""
    return int((~np.isfinite(panel.returns[delistings(panel)])).sum())


def delistings(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and column of each firm's delisting, the first row after its last listed one."""
    last = last_listed(panel)
    leaving = np.flatnonzero((last >= 0) & (last < len(panel) - 1))
    return last[leaving] + 1, leaving


def standardise(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Standardise values [t n] across the firms of each date in the mask; 0 outside it and where all are equal."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (values - (values * mask).sum(dim=1, keepdim=True) / count) * mask
    deviation = (centred.square().sum(dim=1, keepdim=True) / count).sqrt()
    return torch.where(deviation > 1e-8, centred / deviation.clamp(min=1e-8), torch.zeros(()))


def _inputs(panel: Panel, rows: np.ndarray | slice) -> np.ndarray:
    """Stack return, excess return and features (t, n, 2 + f), NaN where missing."""
    here = observed(panel, rows)
    returns = np.where(here, panel.returns[rows], np.nan)
    count = here.sum(axis=1, keepdims=True)
    mean = np.nansum(returns, axis=1, keepdims=True) / np.maximum(count, 1)
    features = np.where(np.isfinite(panel.features[rows]), panel.features[rows], np.nan)
    return np.concatenate([returns[:, :, None], (returns - mean)[:, :, None], features], axis=2, dtype=np.float64)
