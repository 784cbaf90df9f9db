# %% [markdown]
# # 2. From SIC codes to learned peers
#
# Which firms tell you something about a firm? The classical answer is its SIC code: firms of one industry are
# each other's peers, and all of them equally. This notebook climbs from there to attention in small steps, each
# of which adds one idea, on a market where the true peers are known. At the end stands the same question on real
# stocks.
#
# | rung | who is a peer | what is new |
# |---|---|---|
# | SIC average | firms of the same code, all alike | |
# | SIC kernel | firms of the same code, the more alike the more | weights by likeness |
# | kernel regression | any firm with like characteristics | no codes; a learnt width for each characteristic |
# | learned look-up | whoever offers what the firm looks for | direction: A may ask B without B asking A |
# | self-attention | the same, and more layers around it | what is handed over is learnt too |
# | stacked | the peers' peers | two steps |

# %%
import os
import textwrap

import numpy as np
import pandas as pd

import finattn as fa
from finattn import explain, features, networks
from finattn.baselines import KernelRegression
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import Design
from finattn.evaluation import per_date, primary
from finattn.experiment import Rung, cut_fold
from finattn.ladder.climbing import Once
from finattn.look_up import LookUpConfig
from finattn.plots import paper

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"

# %% [markdown]
# ## A market whose peers are known
#
# Tomorrow's return of a firm is moved by today's returns of five others: its suppliers, say. Whom a firm depends
# on follows from its own characteristics (`exposure_*`), and what a firm is from others (`product_*`). For four
# firms in five the suppliers are in *another* industry. This is the hard case for SIC codes; where peers are the
# SIC group, the codes win, as the README's table of the ladder shows.

# %%
design = Design(shares={"peers": 1.0}, noise_features=2, linear_features=1)
panel, truth = fa.simulate(
    firms=48 if SMALL else 80, days=260 if SMALL else 900, r2=0.05, cross_industry=0.8, seed=1, design=design
)
print(textwrap.fill(
    f"{panel.shape[1]} firms on {len(panel)} days. {truth.r2:.1%} of the variance of returns can be "
    f"known, and {truth.cross_industry:.0%} of "
    f"the true peers have another two-digit SIC code.", 110))  # fmt: skip

# %%
first_test = int(0.8 * len(panel))
splits = fa.WalkForward(
    str(panel.dates[first_test]), test=len(panel), valid=int(0.15 * len(panel)), horizon=1, decisions="daily"
)
fold = next(iter(splits.split(panel.dates)))
day = int(fold.test[len(fold.test) // 2])  # a day of the test window, to look at
major = panel.industry[day] // 100
groups = np.unique(major[major > 0])  # 0: not listed on that day


def by_industry(weights):
    """Average weights [n m] of firms: a row for the industry that asks, a column for the industry that is asked."""
    inside = (major[:, None] == groups).astype(float)
    return pd.DataFrame(inside.T @ weights @ inside / inside.sum(axis=0)[:, None], index=groups, columns=groups)


planted = truth.dense([day])[0]
same = (panel.industry[day][:, None] // 100 == major[None, :]) & ~np.eye(len(major), dtype=bool)
same_code = same / same.sum(axis=1, keepdims=True)

# %% [markdown]
# ## The ladder
#
# Every rung is fitted on the same days, stopped on the same later days, and tested on days after those. The
# oracle at the top knows the formula: nothing can be better, except by luck. The attention models start from the
# look-up and are kept only where the stopping days say that they improve on it.


# %%
class Oracle:
    """Forecasts with the formula that made the returns. A forecaster is two calls: fit and predict."""

    units = "return"

    def fit(self, train, valid):
        return self

    def predict(self, blocks):
        return truth.oracle[blocks.positions]


look_up = Once(
    fa.LookUpForecaster(
        LookUpConfig(windows=(1,)),
        TrainingConfig(epochs=2 if SMALL else 15, minimum_epochs=1, block=10, learning_rate=0.01, patience=5),
    )
)
training = TrainingConfig(epochs=2 if SMALL else 6, minimum_epochs=1, block=50)
ladder = {
    "sic_average": fa.SICKernel(windows=(1,), bandwidths=(), minimum_peers=2),
    "sic_kernel": fa.SICKernel(windows=(1,), bandwidths=(1.0,), minimum_peers=2),
    "kernel_regression": KernelRegression(windows=(1,), steps=20 if SMALL else 200, dates=8 if SMALL else 32),
    "look_up": look_up,
    "firm": fa.AttentionForecaster(("firm",), ModelConfig(), training, base=look_up),
    "stacked": fa.AttentionForecaster(("firm", "firm"), ModelConfig(), training, base=look_up),
    "firm_alone": fa.AttentionForecaster(("firm",), ModelConfig(), training),
    "oracle": Oracle(),
}
rungs = [Rung(name, lambda seed, one=one: one) for name, one in ladder.items()]
forecasts = fa.walk_forward(panel, rungs, splits)
table = fa.evaluate(forecasts, against=["sic_kernel"])
paper.rank_ic_intervals(table, "sic_kernel")

# %%
paper.cumulated_rank_ic(per_date(forecasts))

# %%
declared = primary(forecasts, "look_up", "sic_kernel")
gain = declared.estimate
kept = {name: ladder[name].chosen["epoch"] for name in ("firm", "stacked")}
print(
    f"Look-up minus SIC kernel: rank IC {gain.estimate:+.3f} ± {gain.standard_error:.3f}, one-sided p = "
    f"{declared.p_one_sided:.2g}."
)
for name, epoch in kept.items():
    print(
        f"{name}: "
        + (
            "kept the look-up as it was, no epoch was better."
            if epoch == 0
            else f"epoch {epoch} improved on the look-up."
        )
    )

# %% [markdown]
# SIC codes rank these firms no better than chance, nor does likeness: a supplier is not like its customer.
# Direction finds them. Attention on top of the look-up must earn what it adds, and where it does not, the look-up
# stays. *Attention, firms, alone* is the same model from a random start: so few days are not enough for it to
# find what the look-up finds. A flexible model can hold the answer and still not reach it.
#
# ## Were the right peers found?
#
# The look-up's weights on one day of the test window, beside the planted ones and those of SIC codes, averaged by
# industry.

# %%
train, valid, test = cut_fold(panel, fold, TargetConfig(horizon=1))
fitted = look_up.forecaster
network = networks.build(
    [fitted], test, [panel.dates[day]], averaging=networks.Averaging(top_k=panel.shape[1] - 1, window=1)
)
order = {firm: i for i, firm in enumerate(panel.firms)}
learned = np.zeros(planted.shape)
learned[network.edges["firm"].map(order), network.edges["peer"].map(order)] = network.edges["weight"]
paper.weight_maps(
    {"Planted": by_industry(planted), "Same SIC code": by_industry(same_code), "Learned look-up": by_industry(learned)},
    "Industry that asks (SIC)", "Industry asked (SIC)", most=3,
)  # fmt: skip

# %%
looked = explain.attention([fitted.model], test, "look_up", "attention", explain.sample_targets(test, 20, 20))
found = explain.score(looked, truth, panel, k=5)
row = found[found["measure"] == "precision"].iloc[0]
print(
    f"Of a firm's five heaviest learned peers {row['value']:.0%} are planted ones (95%: "
    f"{row['lower']:.0%} to {row['upper']:.0%}); by chance {row['chance']:.0%}."
)

# %%
edges = network.edges[network.edges["firm"].map(order) % 5 == 0]  # every fifth firm asks, to keep the picture clear
edges = edges.sort_values("weight", ascending=False).groupby("firm").head(3)
edges = edges.assign(planted=planted[edges["firm"].map(order), edges["peer"].map(order)] > 0)
paper.peers(edges, network.nodes, industry="industry_2")

# %% [markdown]
# Dark arrows are planted peers that were found, dashed orange ones are not among the planted five: often they are
# neighbours of a true peer, since characteristics that look alike are looked up alike.
#
# ## Peers of peers
#
# If A asks B and B asks C, then news of C reaches A in two days. Two stacked layers could see it at once. The
# network's `paths` list such chains; `direct` is the weight that A gives to C itself.

# %%
network.paths(panel.firms[0], depth=2).head(6).round(3)

# %% [markdown]
# ## The same question on real stocks
#
# Twenty large US stocks, weekly forecasts of the next five days, one fit. It is a sample of survivors with
# today's SIC codes, and far too small for a verdict. Ridge, which knows nothing of peers, stands beside the two.

# %%
real = features.build(fa.sample()["2016":] if SMALL else fa.sample()["2008":], ["momentum", "reversal", "volatility"])
first, test, valid = ("2021-01-01", "2Y", "2Y") if SMALL else ("2015-01-01", "4Y", "2Y")
walk = fa.WalkForward(first, test=test, valid=valid, horizon=5, decisions="weekly")
quick = TrainingConfig(epochs=2 if SMALL else 8, minimum_epochs=1, block=25, learning_rate=0.01)
models = {
    "ridge": fa.Ridge(),
    "sic_kernel": fa.SICKernel(bandwidths=(1.0,)),
    "look_up": fa.LookUpForecaster(training=quick),
}
on_real = fa.walk_forward(real, models, walk)
table = fa.evaluate(on_real)
levels = table[(table["metric"] == "rank_ic") & table["against"].isna()]
levels[["model", "estimate", "standard_error", "lower", "upper", "dates"]].round(4)

# %%
for against in ("sic_kernel", "ridge"):
    answer = primary(on_real, "look_up", against)
    gain, p = answer.estimate, answer.p_one_sided
    verdict = "beyond luck, if this had been the only look" if answer.claim else "not beyond luck"
    print(
        f"Look-up minus {against}: {gain.estimate:+.3f} ± {gain.standard_error:.3f}, one-sided p = {p:.2f}: {verdict}."
    )

# %% [markdown]
# To beat codes that rank no better than chance is not much, and one look at one small sample is one look. The
# README has the whole ladder on several hundred stocks, tuned alike and declared beforehand.
