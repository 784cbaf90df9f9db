# %% [markdown]
# # 1. Which past day matters most? Attention from scratch
#
# A moving average forecasts with past returns and weights that were fixed beforehand: each of the last four days
# counts a quarter. **Attention is a weighted average whose weights are worked out from the days themselves.**
# That is all of it. This notebook works one out by hand, scales it, masks it, gives it a sense of time, and then
# lets it learn which days matter on a market where we know the answer.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import finattn as fa
from finattn import explain
from finattn.attention import allowed, attend, attention_weights, linear_bias, rotate, sinusoidal
from finattn.blocks import Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import Design
from finattn.evaluation import mean_inference
from finattn.metrics import rank_information_coefficient
from finattn.plots import paper
from finattn.training import AttentionHistory

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"  # tests run everything in seconds; the numbers below are not small ones

# %% [markdown]
# ## Four days by hand
#
# A stock returned this much from Monday to Thursday, in percent. Each day becomes a *token*: a few numbers that
# describe it. Here there are two, its return and the size of its return.

# %%
days = ["Mon", "Tue", "Wed", "Thu"]
returns = pd.Series([1.0, -2.0, 0.5, 1.5], index=days)
tokens = torch.tensor(np.column_stack([returns, returns.abs()]))

# %% [markdown]
# It is Thursday evening. Thursday asks the earlier days a question, and three matrices (all of them learnt in a
# real model, two of them given here) say what it asks:
#
# * the **query** of the day that asks, $q = W_Q x$: what am I looking for?
# * the **key** of each day that is asked, $k = W_K x$: what do I have to offer?
# * the **value** of each day, $v = W_V x$: what do I hand over if I am chosen? Here simply the return.
#
# The score of a day is the product $q \cdot k$, divided by $\sqrt d$, where $d = 2$ is the length of a query. A
# softmax turns scores into weights: it takes exponentials and divides by their sum, so that weights are positive
# and add up to one. The answer is the average of the values with these weights.

# %%
ask = torch.tensor([[1.0, 0.0], [0.0, 0.5]], dtype=torch.float64)  # W_Q and W_K: a return counts 1, its size one half
queries, keys, values = tokens @ ask, tokens @ ask, tokens[:, :1]

thursday = pd.DataFrame({"return, %": returns})
thursday["q · k"] = [float(queries[3] @ key) for key in keys]
thursday["divided by √2"] = thursday["q · k"] / np.sqrt(2)
thursday["exponential"] = np.exp(thursday["divided by √2"])
thursday["weight"] = thursday["exponential"] / thursday["exponential"].sum()
thursday["weight × return"] = thursday["weight"] * thursday["return, %"]
thursday.round(3)

# %%
answer = thursday["weight × return"].sum()
most = thursday["weight"].drop("Thu").idxmax()
print(f"Attention's average: {answer:.2f}%. The plain average: {returns.mean():.2f}%.")
print(f"Beside Thursday itself, {most} matters most, with weight {thursday['weight'][most]:.2f}.")
print(
    f"Tuesday's fall of {returns['Tue']:.0f}% counts {thursday['weight']['Tue']:.3f}: Thursday asked "
    f"for days like itself."
)

# %% [markdown]
# The package computes the same numbers, for all days at once. Each row below is one day that asks. What is
# hatched lies in its future, and may not be looked at.

# %%
past = allowed(4, 4, causal=True)
weights = attention_weights(queries, keys, past)
assert np.allclose(weights[3], thursday["weight"]) and np.isclose(float(attend(queries, keys, values, past)[3]), answer)


def table(weights, mask, names):
    """Name the rows and columns of weights; what the mask forbids becomes NaN."""
    return pd.DataFrame(weights.masked_fill(~mask, torch.nan).numpy(), index=names, columns=names)


equal = past / past.sum(dim=1, keepdim=True)
paper.weight_maps(
    {
        "Moving average: equal weights": table(equal, past, days),
        "Attention: weights from the days": table(weights, past, days),
    },
    "Day that asks",
    "Day looked at",
)

# %% [markdown]
# ## Why divide by √d
#
# The product of two random vectors of length $d$ has a standard deviation of about $\sqrt d$. Without the
# division, wide queries give scores so far apart that the softmax picks a single day, for no better reason than
# the width. Below, 60 days whose queries and keys are pure noise. The *effective number of days* is the
# exponential of the weights' entropy: 60 if all count alike, 1 if one takes everything.

# %%
generator = torch.Generator().manual_seed(0)
rows = {}
for d in (2, 4, 8, 16, 32, 64, 128, 256):
    noise = torch.randn(2, 20 if SMALL else 400, 60, d, generator=generator)
    query, key = noise[0][:, :1], noise[1]
    found = {}
    for name, scale in (("divided by √d", None), ("not divided", 1.0)):
        w = attention_weights(query, key, scale=scale)
        found[name] = float((-(w * w.clamp(min=1e-30).log()).sum(-1)).exp().mean())
    rows[d] = found
effective = pd.DataFrame(rows).T
print(
    f"At d = 256: {effective.loc[256, 'divided by √d']:.0f} of 60 days count if divided, "
    f"{effective.loc[256, 'not divided']:.1f} if not."
)
paper.lines(effective, "Width d of queries and keys", "Effective number of days (of 60)", log="x", height=3.2)

# %% [markdown]
# ## Masks: what may be looked at
#
# A mask sets some weights to zero, and the others still add up to one. Three conditions matter in markets: never
# the future (*causal*), not further back than a *lookback*, and no day on which the stock did not trade.

# %%
names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Mon"]
week = torch.tensor([[1.0], [-2.0], [0.5], [1.5], [-0.5], [0.8]])
traded = torch.tensor([True, True, False, True, True, True])
masks = {
    "Everything: looks ahead": torch.ones(6, 6, dtype=torch.bool),
    "Causal": allowed(6, 6, causal=True),
    "Causal, lookback of 3 days": allowed(6, 6, causal=True, lookback=3),
    "Causal, no trade on Wednesday": allowed(6, 6, causal=True, observed=traded),
}
maps = {title: table(attention_weights(week, week, mask), mask.expand(6, 6), names) for title, mask in masks.items()}
paper.weight_maps(maps, "Day that asks", "Day looked at", most=2)

# %% [markdown]
# The first picture is what a backtest must never do: on its first Monday it weighs Friday. In this package that
# mask cannot be set along time, and a test changes the future of every panel to see that no forecast moves.
#
# ## Positions: how far back
#
# So far the order of days does not matter: swap Monday and Tuesday and the weights are swapped with them. Where
# "five days ago" should mean something, each day must say when it was. The oldest way adds waves of many lengths
# to the token (Vaswani et al. 2017): fast ones tell yesterday from today, slow ones tell this month from last.

# %%
encoding = pd.DataFrame(sinusoidal(60, 32).numpy())
paper.position_encodings(encoding)

# %% [markdown]
# This package uses *relative* positions along time: the score depends on the distance of two days alone, so that
# it does not matter where a sample begins. Rotary positions turn queries and keys by an angle that grows with the
# day; a linear bias takes off so much for each day back.

# %%
query, key = torch.randn(2, 1, 8, generator=generator)
apart_five = [
    float(rotate(query, torch.tensor([day])) @ rotate(key, torch.tensor([day - 5])).T) for day in (5, 105, 1005)
]
print("Rotary: the score of a day five days back, asked on day 5, 105 and 1005:", np.round(apart_five, 4))
lags = torch.arange(60)
bias = pd.DataFrame(torch.softmax(linear_bias(4, lags), -1).T.numpy(), columns=[f"head {h}" for h in range(4)])
half = {name: int((column.cumsum() < 0.5).sum()) + 1 for name, column in bias.items()}
print("Linear bias with equal keys: half of the weight lies on the last", half, "days")

# %% [markdown]
# ## Heads: two questions at once
#
# One set of weights asks one question. A *head* is one set; several run side by side and their answers are put
# together. Time to let a model learn. In this simulated market tomorrow's return depends on three earlier ones
# and on nothing else: that of today, that of 4 days ago and that of 9 days ago. Most of a return is noise, as in
# life, though less so than in life. The model is one attention block along time with two heads. Nobody tells it
# the lags.

# %%
PLANTED = (0, 4, 9)
design = Design(
    shares={"lags": 1.0}, lags=PLANTED, lag_weights=(-1.0, 0.8, 0.6), industries=2, linear_features=1, noise_features=0
)
panel, truth = fa.simulate(firms=30 if SMALL else 100, days=300 if SMALL else 1200, r2=0.05, seed=1, design=design)
ends = [int(share * len(panel)) for share in (0.65, 0.8)]
rows = np.arange(30, ends[0]), np.arange(ends[0] + 2, ends[1]), np.arange(ends[1] + 2, len(panel) - 1)
scaling = Scaling.fit(panel, rows[0])  # measured on training rows only
train, valid, test = (Blocks(panel, some, scaling, TargetConfig(horizon=1)) for some in rows)
print(f"{panel.shape[1]} firms, {len(panel)} days; of the variance of returns {100 * truth.r2:.1f}% can be known.")

# %%
watched = next(train.at(rows[0][:5]).cut(14, 5))  # a few days on which weights are kept while the model learns
with tempfile.TemporaryDirectory() as folder:
    forecaster = fa.AttentionForecaster(
        ("time",),
        ModelConfig(width=16, heads=2, feed_forward=0, lookback=15, dropout=0.0),
        TrainingConfig(
            epochs=2 if SMALL else 20, minimum_epochs=1, patience=6, block=100, learning_rate=0.01, weight_decay=0.0
        ),
        history=AttentionHistory(watched, Path(folder) / "history.parquet"),
    )
    forecaster.fit(train, valid)
    history = pd.read_parquet(Path(folder) / "history.parquet")
paper.attention_history(history)

# %% [markdown]
# Read from the top: before training, every lag weighs about the same. Then each head finds a lag of its own. What
# do they look at on days that the model has never seen?

# %%
targets = explain.sample_targets(test, 20, 20)
looked = explain.attention([forecaster.model], test, "time", "attention", targets)
by_lag = looked.table.assign(lag=looked.table["key"].astype(int)).groupby("lag")["score"].mean()
heaviest = sorted(by_lag.nlargest(2).index)
print(
    f"On the test dates the two heaviest lags are {heaviest}, with {by_lag[heaviest].sum():.0%} of the "
    f"weight. Planted: {PLANTED}."
)
paper.attention_over_lags(looked.table, marked=PLANTED)

# %% [markdown]
# Dotted lines are the planted lags. Two of them carry most of the weight. The third, lag 0, is hardly looked at,
# and yet the model uses it: a day's own token also passes *around* attention (the residual path), so that no head
# need look there. **What is not looked at can still matter.** Notebook 3 is about that.
#
# Does the model forecast? Rank IC is the rank correlation, across firms, of forecasts and what followed, averaged
# over days. The oracle knows the formula. Ridge is a linear regression on the same fifteen days.

# %%
ridge = fa.Ridge(lookback=15).fit(train, valid)
scores = {"oracle": truth.oracle[rows[2]], "attention": forecaster.predict(test), "ridge": ridge.predict(test)}
skill = {name: rank_information_coefficient(score, test.realised) for name, score in scores.items()}
found = pd.DataFrame({name: mean_inference(series, 0)._asdict() for name, series in skill.items()}).T
found[["estimate", "standard_error", "lower", "upper", "dates"]].astype(float).round(4)

# %%
gap = mean_inference(skill["attention"] - skill["ridge"], 0)
told_apart = "can be told apart" if gap.p_value < 0.05 else "cannot be told apart"
print(
    f"Attention minus ridge: {gap.estimate:+.4f} ± {gap.standard_error:.4f} (p = {gap.p_value:.2g}): "
    f"the two {told_apart}."
)

# %% [markdown]
# The planted rule is linear, and a plain regression finds it at least as well: attention is worth its price only
# where the weights should change with the day or the firm. The next notebook has such a case: peers.
