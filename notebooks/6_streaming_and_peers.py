# %% [markdown]
# # 6. A new day comes in, and peers go out
#
# A model is fitted. Every evening one new row of returns arrives, and a forecast is wanted for tomorrow. Does one
# have to run the whole history through the model again? No: attention along time needs only the *keys* and
# *values* of past days, and they do not change. They are kept, the new day is added, and the forecast equals that
# of the full pass. Then the model is asked whom each firm looked at, and the answer leaves as files that other
# programs read.

# %%
import os
import tempfile
import time
from pathlib import Path

import networkx
import numpy as np
import pandas as pd
import torch

import finattn as fa
from finattn import features, networks
from finattn.blocks import Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.plots import paper
from finattn.stream import Stream

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"

# %% [markdown]
# ## A model of twenty real stocks
#
# Two attention blocks: along time, each stock looks at its own last 40 days; across firms, all stocks look at
# each other. Two fits that differ by their random start alone, to see what of the peers is chance.

# %%
panel = features.build(fa.sample()["2019":] if SMALL else fa.sample()["2014":], ["momentum", "reversal", "volatility"])
day = {edge: int(np.searchsorted(panel.dates, np.datetime64(edge))) for edge in ("2021-01-01", "2022-01-01")}
rows = np.arange(253, day["2021-01-01"] - 5), np.arange(day["2021-01-01"], day["2022-01-01"] - 5)
scaling, target = Scaling.fit(panel, rows[0]), TargetConfig(horizon=5)
train, valid = (Blocks(panel, some, scaling, target) for some in rows)
sizes = ModelConfig(width=16, heads=2, feed_forward=32, lookback=40, own_firm=False)
training = TrainingConfig(epochs=1 if SMALL else 8, minimum_epochs=1, block=120)
fits = [fa.AttentionForecaster(("time", "firm"), sizes, training, seed=seed).fit(train, valid) for seed in (0, 1)]
model = fits[0].model
print(
    f"{panel.shape[1]} stocks; fitted on {len(rows[0]):,} days up to {panel.dates[rows[0][-1]]}, "
    f"stopped by those up to {panel.dates[rows[1][-1]]}."
)

# %% [markdown]
# ## Day by day
#
# The stream takes up history once. Afterwards each evening brings one row: the inputs of the day, and who was
# observed. `evening` cuts that row from a panel that **ends on that day**, so that nothing of the future can be
# in it.

# %%
first = day["2022-01-01"]
count = 10 if SMALL else 60
past = Blocks(panel[:first], np.array([first - 1]), scaling, target)
history = next(past.cut(model.warmup + 60, 1))


def evening(row):
    """Return what the close of one day brings."""
    return next(Blocks(panel[: row + 1], np.array([row]), scaling, target).cut(0, 1))


stream = model.stream(history)
streamed = []
for row in range(first, first + count):
    new = evening(row)
    streamed.append(stream.advance(new.x[0], new.observed[0]))
streamed = torch.stack(streamed)

whole = next(Blocks(panel, np.arange(first, first + count), scaling, target).cut(model.warmup, count))
with torch.no_grad():
    batch = model(whole)[whole.scored]
print(
    f"{count} days, {batch.isfinite().sum()} forecasts: the largest difference between stream and full "
    f"pass is {(streamed - batch).abs().max():.1e},"
)
print(f"where the forecasts of a day differ between stocks by a standard deviation of {batch.std(dim=1).mean():.1e}.")

# %%
shown = [int(column) for column in batch.mean(0).argsort()[[0, len(panel.firms) // 2, -1]]]
dates = pd.DatetimeIndex(panel.dates[first : first + count])
both = {}
for column in shown:
    both[f"{panel.firms[column]}, full pass"] = batch[:, column].numpy()
    both[f"{panel.firms[column]}, stream"] = np.where(np.arange(count) % 3 == 0, streamed[:, column].numpy(), np.nan)
scores = pd.DataFrame(both, index=dates)
figure = paper.lines(
    scores[[name for name in scores if "full" in name]], "Date", "Score (standard deviations)", height=3.0
)
for line, column in zip(figure.axes[0].lines, shown, strict=True):
    figure.axes[0].plot(
        scores.index, scores[f"{panel.firms[column]}, stream"], "o", color=line.get_color(), markersize=4.5
    )
figure

# %% [markdown]
# Lines are the full pass, dots the stream. What does it save? Processor time for one new day, median of several:


# %%
def milliseconds(run, times=5 if SMALL else 25):
    """Return the median processor time of a call."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        run()
        taken.append(1000 * (time.process_time() - began))
    return float(np.median(taken))


last = evening(first + count)
needed = next(Blocks(panel, np.array([first + count]), scaling, target).cut(model.warmup, 1))
year = next(Blocks(panel, np.array([first + count]), scaling, target).cut(252, 1))
year = year._replace(decision=torch.ones(len(year.x), dtype=torch.bool), warmup=0)
with torch.no_grad():
    cost = {
        "stream: the new day": milliseconds(lambda: Stream.advance(stream, last.x[0], last.observed[0])),
        f"the {len(needed.x)} days it needs": milliseconds(lambda: model(needed)),
        f"all {len(year.x)} days of a year": milliseconds(lambda: model(year)),
    }
cost = pd.DataFrame({"Milliseconds": cost})
print(
    f"The stream takes {cost.iloc[0, 0]:.2f} ms for a new day, a pass over what it needs "
    f"{cost.iloc[1, 0] / cost.iloc[0, 0]:.1f} times as long."
)
paper.bars(cost, "", "Processor time (ms)", height=2.8)

# %% [markdown]
# With twenty stocks and a small model most of this is what any call costs; the README has 5,000 firms, where it
# counts. Between two evenings the stream is put away. It is taken up by the very same model, and by no other:

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "stream.safetensors"
    again = model.stream(history)
    again.save(file)
    taken_up = Stream.load(file, model)
    new = evening(first)
    same = torch.equal(again.advance(new.x[0], new.observed[0]), taken_up.advance(new.x[0], new.observed[0]))
    print(f"Saved ({file.stat().st_size / 1024:.0f} KB) and taken up again: the same forecast to the last bit: {same}.")
    try:
        Stream.load(file, fits[1].model)
    except fa.InputError as error:
        print(str(error).split(": ", 1)[1])

# %% [markdown]
# ## Whom do firms look at?
#
# Attention across firms, averaged over both fits and over the 21 days up to each month's end: a network in which
# the firm that asks points to the firm asked. Every edge has an interval, from draws of fits and days.

# %%
ends = pd.Series(panel.dates).groupby(panel.dates.astype("M8[M]")).last()
asof = [date for date in ends if date >= panel.dates[first]][: 3 if SMALL else 12]
network = networks.build(fits, valid, asof, averaging=networks.Averaging(top_k=panel.shape[1] - 1, window=21))
edges = network.at().edges
even = 1 / (panel.shape[1] - 1)
clear = edges[edges["lower"] > even]
print(f"{network}. If all peers counted alike, each would have {even:.1%}.")
print(
    f"Weights run from {edges['weight'].min():.1%} to {edges['weight'].max():.1%}; {len(clear)} of "
    f"{len(edges)} edges are above the even share beyond their interval."
)

# %%
heaviest = edges.sort_values("weight", ascending=False).groupby("firm").head(2)
paper.peers(heaviest, network.at().nodes, industry="industry_2", layout="circle")

# %% [markdown]
# Each firm's two heaviest peers, coloured by two-digit SIC code. How steady is that? One firm's four heaviest
# peers through the year:

# %%
firm = edges.loc[edges["weight"].idxmax(), "firm"]
mine = network.edges[network.edges["firm"] == firm]
steady = mine.pivot(index="date", columns="peer", values="weight")
top = steady.mean().nlargest(4).index
figure = paper.lines(100 * steady[top], "As-of date", f"Weight of {firm}'s peers (%)", height=3.2)
for line, peer in zip(figure.axes[0].lines, top, strict=True):
    part = mine[mine["peer"] == peer].sort_values("date")
    figure.axes[0].fill_between(
        part["date"], 100 * part["lower"], 100 * part["upper"], color=line.get_color(), alpha=0.15, linewidth=0
    )
figure.axes[0].axhline(100 * even, color="#8A929C", linestyle="--", linewidth=1)
figure

# %% [markdown]
# Bands are the intervals, the dashed line is the even share. They are narrow where the model looks at the same
# firms every day; they do not say that another fit, on other years, would look there too. And they show where the
# model looked, not why it decided: see notebook 3.
#
# ## Files for others

# %%
with tempfile.TemporaryDirectory() as folder:
    csv = networks.write_csv(network, Path(folder) / "peers.csv")
    gexf = networks.write_gexf(network, Path(folder) / "peers.gexf")
    node_link = networks.write_node_link(network, Path(folder) / "peers.json", asof[-1])
    network.save(Path(folder) / "peers")
    back = networks.PeerNetwork.load(Path(folder) / "peers")
    assert back.edges.equals(network.edges)
    assert np.allclose(pd.read_csv(csv)["weight"], network.edges["weight"])
    assert len(networkx.read_gexf(gexf, version="1.3")) == panel.shape[1]
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        print(f"{file.relative_to(folder)}: {file.stat().st_size / 1024:.0f} KB")

# %% [markdown]
# CSV and Parquet for tables, GEXF for Gephi (with a time line), JSON for D3; `to_networkx`, `to_scipy` and
# `to_pyg` stay in memory. Each says which day it was known on, which way the arrows run, and which run it came
# from.

# %%
graph = networks.to_networkx(network, asof[-1])
asked = pd.Series({firm: sum(edge["weight"] for *_, edge in graph.in_edges(firm, data=True)) for firm in graph})
asked.nlargest(5).rename("sum of weights that point to it").to_frame().round(2)
