# %% [markdown]
# # 5. Your own data, from a CSV file to a table of results
#
# You have a file of returns, with column names of your own. This notebook goes from there to a table that says,
# with standard errors, whether anything forecasts them. The file is made up here so that everyone can run it; put
# your own path in its place and the rest stays as it is.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import finattn as fa
from finattn.config import TrainingConfig
from finattn.data import Design
from finattn.data.describe import describe
from finattn.evaluation import mean_inference, per_date
from finattn.experiment import fold_spans
from finattn.look_up import LookUpConfig
from finattn.metrics import rank_information_coefficient
from finattn.plots import paper

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"

# %% [markdown]
# ## A file
#
# One row a stock and day: a day, a ticker, the day's return as a **fraction** (0.01 is one percent), a SIC code,
# and columns of your own. A day on which a stock has no row is a day on which it was not listed. Keep the stocks
# that failed: a file of survivors flatters everything.

# %%
design = Design(shares={"linear": 0.5, "peers": 0.5}, industries=4, peers=3, noise_features=1)
simulated, truth = fa.simulate(
    firms=40 if SMALL else 100, days=420 if SMALL else 1100, r2=0.03, cross_industry=0.5, seed=3, design=design
)
names = {"date": "day", "firm": "ticker", "return": "ret", "industry": "sic"}
folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "my_returns.csv"
rows = simulated.to_frame().drop(columns=["listed"]).rename(columns=names)
rows = rows.drop(columns=[name for name in rows if name.startswith("factor:")])
rows.loc[rows["sic"] > 0].to_csv(file, index=False)
print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")
print("\n".join(line[:110] + " …" for line in file.read_text().splitlines()[:4]))

# %% [markdown]
# ## Read it
#
# Say which of your columns is what. Every further numeric column becomes a feature. What cannot be is refused,
# with the row and the column: two rows for one stock and day, a date that is none, a return below -1.

# %%
panel = fa.load_file(file, columns={yours: ours for ours, yours in names.items()}, industry_as_of=True)
panel

# %%
broken = Path(folder.name) / "broken.csv"
broken.write_text("day,ticker,ret\n2020-01-02,A,0.01\n2020-01-03,A,0.02\n2020-01-03,A,0.03\n")
try:
    fa.load_file(broken, columns={"day": "date", "ticker": "firm", "ret": "return"})
except fa.InputError as error:
    print(str(error).replace(folder.name, "…"))

# %% [markdown]
# ## Look at it before fitting anything
#
# The first warning is earned: the file's last row of a stock is its last day on the list, and what its holders
# got afterwards is not in it.

# %%
found = describe(panel)
print("\n".join(f"! {caution.says}" for caution in found.warnings))
found.years

# %%
listed = pd.DataFrame({"listed": panel.listed.sum(axis=1)}, index=pd.DatetimeIndex(panel.dates))
paper.lines(listed, "Date", "Number of stocks listed", height=2.6)

# %% [markdown]
# ## Forecast it, walking forward
#
# A model is fitted on past days, tuned on the days after them, and tested on the days after those; then
# everything moves on. Between the windows lies a gap as long as the target, so that no return counts on both
# sides. Four forecasters: nothing, a ridge regression, the average of the peers of the same SIC code, and
# attention across firms in its plainest form, the learned look-up, which picks each stock's peers by its features
# and forecasts with their last returns.

# %%
first_test = str(panel.dates[int(0.6 * len(panel))])
splits = fa.WalkForward(first_test, test="6M", valid="6M", horizon=1, decisions="daily")
spans = fold_spans(panel, splits)
paper.fold_timeline(spans)

# %%
look_up_training = TrainingConfig(epochs=2 if SMALL else 12, minimum_epochs=1, block=10, learning_rate=0.01)
forecasters = {
    "zero": fa.Zero(),
    "ridge": fa.Ridge(lookback=10),
    "sic_kernel": fa.SICKernel(windows=(1, 5), bandwidths=(1.0,)),
    "look_up": fa.LookUpForecaster(LookUpConfig(windows=(1,)), look_up_training),
}
forecasts = fa.walk_forward(panel, forecasters, splits)
print(f"{len(forecasts.table):,} forecasts by {len(forecasts.models)} models, {len(spans)} folds.")

# %% [markdown]
# ## What it is worth

# %%
table = fa.evaluate(forecasts, against=["ridge"])
ic = table[table["metric"] == "rank_ic"]
ic[["model", "against", "estimate", "standard_error", "p_value", "p_holm", "dates"]].round(4)

# %%
paper.rank_ic_intervals(table)

# %%
by_day = per_date(forecasts)
paper.cumulated_rank_ic(by_day)

# %%
levels = ic[ic["against"].isna()].set_index("model")
gain = ic[(ic["model"] == "look_up") & (ic["against"] == "ridge")].iloc[0]
for model in ("ridge", "sic_kernel", "look_up"):
    row = levels.loc[model]
    words = "more than luck" if row["p_value"] < 0.05 and row["estimate"] > 0 else "not told from luck"
    print(f"{model}: rank IC {row['estimate']:.3f} ± {row['standard_error']:.3f}, {words}.")
p = f"p = {gain['p_holm']:.2g} after Holm's correction"
words = (
    "is not told apart from"
    if gain["p_holm"] >= 0.05
    else "is better than"
    if gain["estimate"] > 0
    else "is worse than"
)
print(f"The look-up alone {words} ridge: {gain['estimate']:+.3f} ± {gain['standard_error']:.3f} ({p}).")

# %% [markdown]
# Ridge reads a stock's own features and does not see its peers; the look-up sees peers and nothing else. Yet
# where a feature is rewarded, stocks with like features earn alike, and a look-up takes them for peers as well.
# Do the two know different things? Then their average, with equal weights that were not tuned, should gain on
# either.

# %%
ridge, look_up = (forecasts.wide(model) for model in ("ridge", "look_up"))
alike = np.nanmean(rank_information_coefficient(ridge.score, look_up.score))
ranks = [pd.DataFrame(wide.score).rank(axis=1, pct=True).to_numpy() for wide in (ridge, look_up)]
both = rank_information_coefficient(ranks[0] + ranks[1], ridge.realised)
added = mean_inference(both - rank_information_coefficient(ridge.score, ridge.realised), forecasts.overlap)
words = "gains" if added.p_value < 0.05 and added.estimate > 0 else "does not gain"
print(f"The two forecasts have a rank correlation of {alike:.2f}. Averaged: rank IC {np.nanmean(both):.3f},")
print(f"{added.estimate:+.3f} ± {added.standard_error:.3f} on ridge: the average {words}.")

# %% [markdown]
# On your own returns expect far smaller numbers: here the panel was made so that a few percent of the variance
# can be known at all. `finattn run` does all of this from the command line and writes one report to pass on;
# `forecasts.save` keeps the table of forecasts for the backtest of notebook 4.

# %%
folder.cleanup()
