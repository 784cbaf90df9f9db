# %% [markdown]
# # 7. What attention costs
#
# Attention compares everything with everything: twice as many firms, four times the work. Before choosing a
# transformer for 5,000 firms and 250 days one should know which part of the bill grows with what, and which part
# can be avoided. This notebook counts operations by formula, times the same computations on the machine that runs
# it, and puts the two side by side. Times are medians of several runs; on another machine they differ, and the
# shapes of the curves should not.

# %%
import os
import statistics
import time
from functools import partial

import numpy as np
import pandas as pd
import torch

import finattn as fa
from finattn.bench import Sizes, cells, costs, crossings, growth, measure
from finattn.blocks import Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig
from finattn.data import Design
from finattn.plots import paper

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"
print(
    f"{torch.get_num_threads()} thread, torch {torch.__version__.split('+')[0]}, float32, forward pass, "
    f"gradients left out."
)

# %% [markdown]
# ## Four ways to attend
#
# Along **firms**, at one date, each of $n$ firms looks at all others:
#
# * *softmax*, the usual kind: $4 n^2 w$ operations, where $w$ is the width of the model;
# * *linear*: keys and values are summed up once and every firm asks the sum, $4 n w d$ operations with $d = w /
#   h$ and $h$ heads.
#
# Along **time**, a forecast looks at the $l$ days before it:
#
# * *windows encoded again*: each date cuts its own window and encodes all of it, $4 n l^2 w$ for each date. It is
#   what one gets by feeding windows to an ordinary encoder;
# * *one pass in a band*: the days of all dates are encoded once, and each looks back at the $l$ before it, about
#   $4 n w (l + 20)$ for each date.

# %%
firms = (25, 50, 100) if SMALL else (50, 100, 200, 400, 800, 1600)
lookbacks = (5, 10, 20) if SMALL else (10, 20, 40, 80, 160)
along_firms = cells(Sizes(firms=firms, lookback=(10,), width=32, heads=2, days=60))
along_time = cells(Sizes(firms=(20 if SMALL else 100,), lookback=lookbacks, width=32, heads=2, days=60))
chosen = [c for c in along_firms if c.lookback == 0] + [c for c in along_time if c.lookback > 0]
table = costs(chosen, measure)
paper.attention_costs(table)

# %% [markdown]
# Straight lines on these axes are powers: a slope of 1 doubles with the size, a slope of 2 quadruples. Measured
# times bend at the left, where what a call costs whatever its size outweighs the arithmetic. The table has the
# slopes over all sizes, and the larger half of the sizes is nearer to what the formula says.

# %%
slopes = growth(table).dropna(subset=["operations"])[["kernel", "by", "operations", "seconds"]]
upper = table[
    ((table["axis"] == "firm") & (table["firms"] >= np.median(firms)))
    | ((table["axis"] == "time") & (table["lookback"] >= np.median(lookbacks)))
]
slopes["seconds, larger half"] = growth(upper).dropna(subset=["operations"])["seconds"].to_numpy()
slopes.rename(columns={"operations": "operations (formula)", "seconds": "seconds (measured)"}).round(2)

# %%
for row in crossings(table).to_dict("records"):
    names = paper.costs.KERNELS
    formula = "never" if pd.isna(row["by_formula"]) else f"from {row['by_formula']:.0f}"
    print(
        f"{names[row['cheap']]} is cheaper than {names[row['dear']].lower()}: {row['by']} {formula} by "
        f"operations, {row['measured']} as measured."
    )

# %% [markdown]
# ## A whole model, both ways
#
# Kernels are not all of a model. Below, the same `PanelTransformer` (two blocks along time, with everything
# around them) forecasts the same days twice: in one pass over a block of days, and date by date, each with its
# window cut out and encoded again. The forecasts are the same; the last column is the largest difference, in
# standard deviations.

# %%
shown, days = (10, 20) if SMALL else (40, 60)
panel, _ = fa.simulate(firms=shown, days=520, design=Design(industries=2, peers=3))
scaling = Scaling.fit(panel, np.arange(100))


def seconds(run, times=3):
    """Return the median processor time of a call, which other programs do not lengthen, and what it gave."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        result = run()
        taken.append(time.process_time() - began)
    return statistics.median(taken), result


def forecast(model, cut):
    """Return the scores of all blocks, date by date."""
    with torch.no_grad():
        return torch.cat([model(block)[block.scored] for block in cut])


rows = []
for lookback in lookbacks:
    torch.manual_seed(0)
    model = fa.PanelTransformer(
        scaling.width, ("time", "time"), ModelConfig(width=32, heads=2, lookback=lookback)
    ).eval()
    blocks = Blocks(panel, np.arange(400, 400 + days), scaling, TargetConfig())

    found = {}
    for name, length in (("Windows encoded again", 1), ("One pass in a band", days)):
        cut = list(blocks.cut(model.warmup, length))  # before the clock starts
        found[name] = seconds(partial(forecast, model, cut))
    (slow, b), (fast, a) = found.values()
    difference = float((a - b).nan_to_num().abs().max() / a[~a.isnan()].std())
    rows.append(
        {"lookback": lookback, "Windows encoded again": slow, "One pass in a band": fast, "difference": difference}
    )
model_times = pd.DataFrame(rows).set_index("lookback")
model_times.round(6)

# %%
per_date = 1000 * model_times[["Windows encoded again", "One pass in a band"]] / days
paper.lines(per_date, "Lookback (days)", f"Milliseconds a date, {panel.shape[1]} firms", log="xy")

# %% [markdown]
# What should the ratio be? Two stacked bands of $l$ days reach $2 (l - 1)$ days back. Date by date, each forecast
# encodes those days and its own; in one pass, all dates share them. Counting encoded days gives the second line.

# %%
reach = 2 * (model_times.index.to_numpy() - 1)
ratio = pd.DataFrame(
    {
        "measured": model_times["Windows encoded again"] / model_times["One pass in a band"],
        "days encoded, by formula": (reach + 1) / ((reach + days) / days),
    }
)
last = ratio.iloc[-1]
print(
    f"At a lookback of {ratio.index[-1]} days: {last.iloc[0]:.0f} times as long, where counting days "
    f"says {last.iloc[1]:.0f}."
)
paper.lines(ratio, "Lookback (days)", "Times as long as one pass", log="xy", height=3.0)

# %% [markdown]
# ## What follows
#
# * Along time, encode each day once. It is the same forecast, and the longer the lookback the more it saves.
# * Along firms, the square is real, and on one date it is small: look up what your number of firms costs before
#   giving up softmax, whose weights can be read as peers.
# * `finattn bench attention --firms 500 5000 --lookback 60` prints these tables for your sizes, with memory.
