"""What moves a forecast: gradients, and what is lost when something is taken away.

The firms of one date share the forward pass, for which captum has no call: gradients are written out here, a few lines
each, and held against captum's in the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from finattn.blocks import Blocks
from finattn.config.require import require, require_types
from finattn.errors import InputError
from finattn.explain.explanation import COLUMNS, OTHERS, TOP, Explanation, plain
from finattn.explain.removal import Sums, ablation, occlusion, shapley
from finattn.explain.scene import Explained, Target, View, scenes, view

RETURNS = 2  # inputs that are returns, which come first: the return and the excess return
CELLS = 2**26  # attributions of single inputs that are held at once


@dataclass(frozen=True)
class How:
    """How forecasts are explained.

    Parameters
    ----------
    baseline : what stands for "nothing to see": "median" of the date's firms, "absent", or a date; see
        `explain.scene.baseline`.
    steps : points of the path, of integrated gradients.
    samples : draws, of SmoothGrad, GradientSHAP and Shapley values. seed : of the draws, the same for every forecast.
    noise : standard deviation of what SmoothGrad and GradientSHAP add, in units of scaled inputs.
    width : rows that occlusion takes away at once.
    peers : for Shapley values, the peers that are players of their own: so many of the largest by input × gradient.
    lags : for Shapley values, the first lags of groups of the firm's own days; the last group ends with the window.

    Raises
    ------
    InputError
        For numbers out of their range.

    Examples
    --------
    >>> from finattn.explain import How
    >>> How(baseline="absent", steps=64)
    How(baseline='absent', steps=64, samples=25, seed=0, noise=0.1, width=5, peers=10, lags=(0, 1, 2, 5, 10, 21))
    >>> How(lags=(1, 5))
    Traceback (most recent call last):
    finattn.errors.InputError: lags must be increasing lags from 0, found (1, 5)
    """

    baseline: Any = "median"
    steps: int = 32
    samples: int = 25
    seed: int = 0
    noise: float = 0.1
    width: int = 5
    peers: int = 10
    lags: tuple[int, ...] = (0, 1, 2, 5, 10, 21)

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        require_types(self)
        for name in ("steps", "samples", "width", "peers"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("noise", self.noise, 0 <= self.noise < 10, "at least 0 and below 10")
        require("seed", self.seed, self.seed >= 0, "at least 0")
        proper = tuple(self.lags[:1]) == (0,) and list(self.lags) == sorted(set(self.lags))
        require("lags", self.lags, proper, "increasing lags from 0")


def gradients(
    model: Explained,
    blocks: Blocks,
    targets: Sequence[Target],
    method: str = "integrated_gradients",
    how: How | None = None,
    name: str = "model",
) -> Explanation:
    """Explain forecasts by gradients, or by taking inputs away.

    For a forecast of firm i at date t, the same attribution is summed up three times: over what each of the firm's own
    lags holds (kind "lag"; key "others" is all of its peers), over what each firm holds (kind "peer", i included), and
    over what is known of all by each characteristic (kind "feature"). With a method that has completeness each kind
    adds up to score(x) − score(baseline): "integrated_gradients" up to its steps, "shapley" exactly.

    ============================  =================================================================================
    "saliency"                    |∂score/∂x| (Simonyan et al. 2014)
    "return_saliency"             |g − median over firms of g| on each row, g = ∂score/∂x of the inputs that are
                                  returns: excess returns add up to zero over firms, so that what is common to all
                                  derivatives by them changes no score; lags and peers alone
    "input_x_gradient"            (x − baseline) ∂score/∂x
    "integrated_gradients"        its mean along the line from the baseline (Sundararajan et al. 2017), Gauss-Legendre
    "smoothgrad"                  saliency, averaged over noise (Smilkov et al. 2017)
    "gradient_shap"               expected gradients over noise and the line (Lundberg and Lee 2017)
    "temporal_rescaling"          of the firm's own rows: how much saliency changes without a row, times how much it
                                  changes without a characteristic on that row (Ismail et al. 2020, without their
                                  threshold); lags and characteristics alone; dear, lags · characteristics passes
    "feature_ablation"            the score less that with a lag, a firm or a characteristic at the baseline
    "occlusion"                   the same for `width` consecutive own rows, averaged over the windows a row is in;
                                  lags alone
    "shapley"                     Shapley values by sampled permutations (Castro et al. 2009), of groups of lags, of the
                                  largest peers, and of characteristics, each kind a game of its own
    ============================  =================================================================================

    DeepLIFT is left out: its rules hold for one nonlinear input after another, and attention multiplies inputs. Of a
    model that corrects a base, the base's mean and deviation over firms are held; see `explain.scene.held`.

    Parameters
    ----------
    model : a network in evaluation mode, such as a fitted forecaster's; see `explain.network`.
    blocks : the panel and how it is scaled; its positions do not matter.
    targets : dates and firms whose forecasts are explained; those of one date share forward passes.
    method : see above. how : its settings. name : of the model in the table.

    Returns
    -------
    Explanation, scores in units of the model's score. Peers are the firms observed on any of the rows that the forecast
    draws on. Of more than 500 the heaviest are listed, and the sum of the rest as "others". `made` holds the settings
    used and, for methods with completeness, the largest error of a sum, as a share of its change.

    Raises
    ------
    InputError
        For an unknown method, and for targets or a baseline that the panel does not have.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([100]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig()).eval()
    >>> found = gradients(model, blocks, [(panel.dates[100], "AAPL")], "saliency")
    >>> sorted(found.table["kind"].unique()), len(found.table)
    (['feature', 'lag', 'peer'], 24)
    """
    how = how or How()
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, found {method!r}")
    explain, uses = METHODS[method]
    tables, misses = [], []
    for scene in scenes(model, blocks, targets):
        whole = view(model, blocks, scene, how.baseline)
        for part in _parts(whole):
            found = explain(part, how)
            tables.append(_tidy(part, found).assign(date=pd.Timestamp(blocks.panel.dates[scene.row]).as_unit("ms")))
            misses += _misses(part, found) if method in COMPLETE else []
    table = pd.concat(tables, ignore_index=True).assign(model=name, method=method)
    made = {key: plain(getattr(how, key)) for key in uses}
    if misses:
        made["completeness_error"] = max(misses)
    return Explanation(table[list(COLUMNS)], {method: made})


def _parts(view: View) -> list[View]:
    """Split the firms explained so that the attributions of their single inputs can be held."""
    columns, most = view.scene.columns, max(1, CELLS // view.z.numel())
    starts = range(0, len(columns), most)
    return [view._replace(scene=view.scene._replace(columns=columns[start : start + most])) for start in starts]


def _misses(view: View, found: Sums) -> list[float]:
    """Return by how much of its change each forecast's attribution misses it, over kinds the largest."""
    with torch.no_grad():
        change = (view.scores(view.z) - view.scores(torch.zeros_like(view.z))).double().numpy()
    sums = np.array([[scores.sum() for scores in of_kind] for of_kind in found.values()])
    return (np.abs(sums - change) / np.abs(change).clip(1e-6)).max(0).tolist()


# -- attributions of single inputs, [i w n f] ----------------------------------------------------------------------


def _saliency(view: View, how: How) -> Tensor:
    return view.gradients(view.z).abs()


def _input_x_gradient(view: View, how: How) -> Tensor:
    return view.z * view.gradients(view.z)


def _integrated(view: View, how: How) -> Tensor:
    places, shares = (x.tolist() for x in np.polynomial.legendre.leggauss(how.steps))
    total = torch.zeros(len(view.scene.columns), *view.z.shape)
    for place, share in zip(places, shares, strict=True):
        view.gradients((1 + place) / 2 * view.z, share / 2, total)
    return view.z * total


def _smoothgrad(view: View, how: How) -> Tensor:
    random = torch.Generator().manual_seed(how.seed)
    noise = (how.noise * torch.randn(view.z.shape, generator=random) for _ in range(how.samples))
    return reduce(Tensor.add_, (view.gradients(view.z + some).abs_() for some in noise)) / how.samples


def _gradient_shap(view: View, how: How) -> Tensor:
    random = torch.Generator().manual_seed(how.seed)

    def one() -> Tensor:
        z = view.z + how.noise * torch.randn(view.z.shape, generator=random)
        return z * view.gradients(z * torch.rand((), generator=random))

    return reduce(Tensor.add_, (one() for _ in range(how.samples))) / how.samples


def _summed(attribute: Callable[[View, How], Tensor]) -> Callable[[View, How], Sums]:
    """Sum attributions of single inputs up by lag, by firm and by characteristic."""

    def sums(view: View, how: How) -> Sums:
        found = attribute(view, how).masked_fill_(~view.scene.block.observed[..., None], 0.0)
        by_firm, by_input = found.sum((1, 3), dtype=torch.double), found.sum((1, 2), dtype=torch.double)
        features = torch.zeros(len(found), len(view.names), dtype=torch.double).index_add_(1, view.group, by_input)
        place, columns = torch.arange(len(found)), torch.tensor(view.scene.columns)
        own = found[place, :, columns].sum(2, dtype=torch.double).flip(1)
        rest = by_firm.sum(1) - by_firm[place, columns]
        seen = view.scene.seen.numpy()
        lags = [*map(str, range(own.shape[1])), OTHERS]
        return {
            "lag": [pd.Series(one, lags) for one in torch.cat([own, rest[:, None]], 1).numpy()],
            "peer": [pd.Series(one[seen], view.firms[seen]) for one in by_firm.numpy()],
            "feature": [pd.Series(one, view.names) for one in features.numpy()],
        }

    return sums


# -- sums by lag, firm and characteristic ---------------------------------------------------------------------------


def _return_saliency(view: View, how: How) -> Sums:
    slopes, seen = view.gradients(view.z)[..., :RETURNS], view.scene.seen
    slopes -= slopes[:, :, seen].median(2, keepdim=True).values
    found = (slopes.abs().sum(-1) * view.scene.block.observed).double()
    firms, own = view.firms[seen.numpy()], found[torch.arange(len(found)), :, torch.tensor(view.scene.columns)].flip(1)
    return {
        "lag": [pd.Series(one, [*map(str, range(own.shape[1]))]) for one in own.numpy()],
        "peer": [pd.Series(one, firms) for one in found.sum(1)[:, seen].numpy()],
    }


def _temporal(view: View, how: How) -> Sums:
    lags, features = [], []
    for column, alone in view.alone():
        plain, days = _saliency(alone, how), len(view.z)

        def changed(
            row: int, inputs: Tensor, alone: View = alone, column: int = column, plain: Tensor = plain
        ) -> float:
            """Return how much the saliency of all inputs changes without some on an own row."""
            z = alone.z.clone()
            z[row, column, inputs] = 0.0
            return 0.0 if z.equal(alone.z) else float((_saliency(alone._replace(z=z), how) - plain).abs().sum())

        of_names = [view.group == place for place in range(len(view.names))]
        rows = np.array([changed(row, view.group >= 0) for row in range(days)])
        cells = rows[:, None] * [[changed(row, inputs) for inputs in of_names] for row in range(days)]
        lags.append(pd.Series(cells.sum(1)[::-1], [*map(str, range(days))]))
        features.append(pd.Series(cells.sum(0), view.names))
    return {"lag": lags, "feature": features}


def _shapley(view: View, how: How) -> Sums:
    return shapley(view, how.samples, how.seed, how.peers, how.lags)


Method = Callable[[View, How], Sums]
METHODS: dict[str, tuple[Method, tuple[str, ...]]] = {
    "saliency": (_summed(_saliency), ()),
    "return_saliency": (_return_saliency, ()),
    "input_x_gradient": (_summed(_input_x_gradient), ("baseline",)),
    "integrated_gradients": (_summed(_integrated), ("baseline", "steps")),
    "smoothgrad": (_summed(_smoothgrad), ("samples", "noise", "seed")),
    "gradient_shap": (_summed(_gradient_shap), ("baseline", "samples", "noise", "seed")),
    "temporal_rescaling": (_temporal, ("baseline",)),
    "feature_ablation": (lambda view, how: ablation(view), ("baseline",)),
    "occlusion": (lambda view, how: occlusion(view, how.width), ("baseline", "width")),
    "shapley": (_shapley, ("baseline", "samples", "seed", "peers", "lags")),
}
"""Each method, and the settings that it uses."""
COMPLETE = ("integrated_gradients", "shapley")


def _tidy(view: View, found: Sums) -> pd.DataFrame:
    """List the scores of a view."""
    parts = []
    for kind, of_kind in found.items():
        for column, scores in zip(view.scene.columns, of_kind, strict=True):
            listed = _heaviest(scores) if kind == "peer" else scores
            firm, keys = str(view.firms[column]), listed.index.astype(str)
            parts.append(pd.DataFrame({"firm": firm, "kind": kind, "key": keys, "score": listed.to_numpy()}))
    return pd.concat(parts, ignore_index=True)


def _heaviest(scores: pd.Series) -> pd.Series:
    """Keep the heaviest peers in their order, and the sum of the rest."""
    if len(scores) <= TOP:
        return scores
    kept = scores.iloc[np.sort(np.argsort(-scores.abs().to_numpy(), kind="stable")[:TOP])]
    return pd.concat([kept, pd.Series([scores.sum() - kept.sum()], [OTHERS])])
