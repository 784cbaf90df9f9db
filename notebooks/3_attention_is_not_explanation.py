# %% [markdown]
# # 3. Attention is not explanation: the audit
#
# A heat map of attention weights looks like an explanation: the model looked here, so this is why. Two things can
# be wrong with that. The model may know nothing, and then there is nothing to explain. Or other weights would
# have given the same forecasts, and then these ones explain little. This notebook takes two models with the same
# pretty heat maps, one with skill and one that was trained on nonsense, and asks which of their explanations one
# may believe.

# %%
import os
import textwrap

import numpy as np
import pandas as pd

import finattn as fa
from finattn import explain
from finattn.blocks import Blocks, Scaling
from finattn.config import TargetConfig, TrainingConfig
from finattn.data import Design
from finattn.look_up import LookUpConfig
from finattn.plots import paper

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"

# %% [markdown]
# ## Two models
#
# The market is simulated, and five planted peers move each firm. Both models are the learned look-up: attention
# across firms in its plainest form, with weights that say directly how much of whose return enters a forecast.
# The second model is trained on the same panel with each day's returns **shuffled among the firms**: nothing is
# left that could be learnt. Each is fitted twice, with another random start.

# %%
firms, days = (24, 180) if SMALL else (48, 700)
design = Design(shares={"peers": 1.0}, industries=4, noise_features=2, linear_features=1)
panel, truth = fa.simulate(firms=firms, days=days, r2=0.05, cross_industry=0.8, seed=2, design=design)

random = np.random.default_rng(0)
returns = panel.returns.copy()
for row in returns:
    known = np.flatnonzero(np.isfinite(row))
    row[known] = row[random.permutation(known)]
nonsense = panel.replace(returns=returns)

ends = int(0.56 * days), int(0.75 * days)
rows = np.arange(5, ends[0]), np.arange(ends[0] + 2, ends[1]), np.arange(ends[1] + 2, days - 2)
scaling = Scaling.fit(panel, rows[0])
train, valid, test = (Blocks(panel, some, scaling, TargetConfig(horizon=1)) for some in rows)
training = TrainingConfig(epochs=1 if SMALL else 12, minimum_epochs=1, block=10, learning_rate=0.01, patience=5)


def fit(seed, source):
    """Fit a look-up on a panel."""
    seen = [Blocks(source, some, scaling, TargetConfig(horizon=1)) for some in rows[:2]]
    return fa.LookUpForecaster(LookUpConfig(windows=(1,), heads=1), training, seed=seed).fit(*seen)


skilled = [fit(seed, panel) for seed in (0, 1)]
ignorant = [fit(seed, nonsense) for seed in (0, 1)]

# %% [markdown]
# ## Two pictures
#
# Mean attention weights on the days of the test. Which of the two knows something?

# %%
shown = explain.sample_targets(test, 3 if SMALL else 10, firms)
looked = {
    "Model A": explain.attention([fit.model for fit in skilled], test, "Model A", "attention", shown),
    "Model B": explain.attention([fit.model for fit in ignorant], test, "Model B", "attention", shown),
}
tables = explain.join(looked.values()).table
paper.peer_heat_map(tables, panel.firms, panel.industry.max(axis=0))

# %% [markdown]
# Both have firms that many ask and dark spots that call for a story. One of the two is sharper:

# %%
sharp = tables.groupby(["model", "date", "firm"])["score"].agg(lambda weights: weights.sum() ** 2 / (weights**2).sum())
for name, part in sharp.groupby("model"):
    print(f"{name}: a firm looks at {part.mean():.1f} peers (effective number) of {firms - 1}.")

# %% [markdown]
# A sharp map proves nothing: a model can be sure and wrong, and how sharp it gets depends on how long it was
# trained.
#
# ## The audit
#
# `finattn.explain.audit` asks, of fits that differ by their random start: do the forecasts have skill? Do
# attention and gradients agree? What becomes of the forecasts with attention made even, or shuffled? Does rank IC
# fall when what a method calls important is taken away? Does a map change when the model forgets all it learnt?
# Are maps the same over fits?

# %%
few = (0.0, 0.5, 1.0) if SMALL else (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
checks = explain.Checks(
    methods=("attention", "saliency", "integrated_gradients"),
    dates=3 if SMALL else 16, firms=4 if SMALL else 10, shaken=2 if SMALL else 4, draws=1 if SMALL else 2,
    removal=explain.Removal(shares=few, draws=1 if SMALL else 2), how=explain.How(steps=4 if SMALL else 8),
)  # fmt: skip
even = [explain.uniform_twin(fit).fit(train, valid) for fit in skilled]
audits = {
    "Model A": explain.audit(skilled, test, uniform=even, checks=checks, name="Model A"),
    "Model B": explain.audit(ignorant, test, checks=checks, name="Model B"),
}
for name, found in audits.items():
    print(name)
    for sentence in str(found.verdict).splitlines():
        print(textwrap.fill(sentence, 108, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))

# %% [markdown]
# Model B is the one that was trained on shuffled returns. Its maps may be stable, may agree with each other, may
# change when the model is made to forget; it has nothing to say about the market, and the audit says so before
# anything else.
#
# ## What the checks found
#
# **Other weights, same parameters.** If forecasts hardly change when attention is made even, attention did not
# matter.

# %%
both = {name: found.table[found.table["kind"] != "lag"] for name, found in audits.items()}
paper.audit_figures(both, "replaced", "rank_ic_change", f"Change of rank IC on {checks.dates} test dates")

# %% [markdown]
# **Take away what is called important.** Peers (or characteristics) are put at their typical value, the most
# important first. Where a method finds what matters, its curve falls below that of a random order, whose interval
# is the grey band.

# %%
paper.deletion_curves(audits["Model A"].details["deletion_curves"].query("kind != 'lag'"))

# %% [markdown]
# With so few dates the bands are wide and every interval is rough. A verdict rests on the paired difference to
# the random order, which is more exact: area between the curves, with its 95% interval.

# %%
paper.audit_figures(both, "deletion", words="Rank IC lost beyond random order")

# %% [markdown]
# **Does the map depend on what was learnt?** The model's parameters are replaced by random ones. A map that stays
# the same (rank correlation near 1) shows the data's shape, not the model's knowledge (Adebayo et al. 2018).

# %%
paper.audit_figures(both, "randomisation", words="Rank correlation with the map of a model that forgot")

# %% [markdown]
# **Could the weights have been others?** Copies of one fit are trained to keep the forecasts and move their
# attention away (Jain and Wallace 2019). Distance is from 0 (the same weights) to 1; beside it, how far two
# honest fits are apart.

# %%
how = explain.Adversary(strengths=(0.03, 0.1, 0.3), dates=32, batch=4, steps=5 if SMALL else 100)
few = test.at(test.positions[::20])
adversary = explain.adversaries([skilled[0].model], train, few, how=how)
apart = explain.between_seeds([fit.model for fit in skilled], few).assign(strength=np.nan)
moved = pd.concat([adversary, apart]).query("kind == 'peer'")
moved.assign(what=moved["setting"].map({"adversary": "trained to look elsewhere", "seed": "another random start"}))[
    ["what", "strength", "distance", "rank_correlation"]
].round(3)

# %% [markdown]
# ## What may be believed, then?
#
# We know the truth here, so the last word need not be the audit's: of the five peers that attention weighs most,
# how many are planted?

# %%
targets = explain.sample_targets(test, 3 if SMALL else 20, 12)
rows = []
for name, fits in (("Model A", skilled), ("Model B", ignorant)):
    by_attention = explain.attention([fit.model for fit in fits], test, name, "attention", targets)
    scored = explain.score(by_attention, truth, panel, k=5)
    rows.append(scored[scored["measure"] == "precision"][["model", "method", "value", "lower", "upper", "chance"]])
pd.concat(rows).round(3)

# %% [markdown]
# Weights of a model with skill can point at the truth. The same picture from a model without skill points
# nowhere, and looks as good. Show the audit with the heat map: `finattn audit RUN` writes it into the report.
