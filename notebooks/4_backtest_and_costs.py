# %% [markdown]
# # 4. From forecasts to money: costs, restrictions, and the best of many
#
# A forecast that ranks stocks better than chance is not yet a profit. This notebook takes forecasts with known
# skill and asks what is left after trading costs, after leaving out stocks that cannot be traded, and after
# admitting how many strategies were tried before this one was shown. Nothing here depends on attention: the
# backtest reads a table of forecasts, and does not ask who made them.

# %%
import os
import textwrap

import numpy as np
import pandas as pd

import finattn as fa
from finattn.data import Design
from finattn.evaluation import Scheme, assess, backtest, deflated_sharpe, expected_maximum_sharpe, mean_inference
from finattn.evaluation.overfitting import Trials
from finattn.plots import paper
from finattn.report.backtest import sentences

# %matplotlib inline

SMALL = os.environ.get("FINATTN_SMALL") == "1"

# %% [markdown]
# ## A market with a little skill in it
#
# The panel is simulated so that the truth is known: some 0.15% of the variance of tomorrow's return can be
# forecast, half of it by characteristics that change slowly and half by what happened today. Market values,
# prices and volumes are made up beside it, for the restrictions further down.

# %%
firms, days = (40, 780) if SMALL else (120, 1500)
design = Design(shares={"linear": 0.5, "peers": 0.25, "lags": 0.25}, industries=4, peers=3, persistence=0.99)
panel, truth = fa.simulate(firms=firms, days=days, r2=0.0015, seed=5, design=design)
random = np.random.default_rng(0)
size = np.exp(random.normal(20.5, 1.6, firms))  # dollars at the beginning
value = size * np.cumprod(1 + np.nan_to_num(panel.returns), axis=0)
panel = panel.replace(
    market_cap=value, dollar_volume=0.005 * value, price=value / size * random.lognormal(2.8, 0.8, firms)
)
print(f"{firms} stocks, {days} days, {truth.r2:.2%} of the variance of returns can be known.")

# %%
first_test = str(panel.dates[int(0.6 * days)])
forecasters = {
    "historical_mean": fa.HistoricalMean(),
    "ridge": fa.Ridge(lookback=21),
    "sic_kernel": fa.SICKernel(windows=(1, 5), bandwidths=()),
}
daily = fa.walk_forward(
    panel, forecasters, fa.WalkForward(first_test, test="1Y", valid="1Y", horizon=1, decisions="daily")
)
weekly = fa.walk_forward(
    panel, forecasters, fa.WalkForward(first_test, test="1Y", valid="1Y", horizon=5, decisions="weekly")
)
skill = pd.concat({"daily": fa.evaluate(daily), "weekly": fa.evaluate(weekly)}, names=["decisions"]).reset_index(
    "decisions"
)
skill = skill[(skill["metric"] == "rank_ic") & skill["against"].isna()]
skill[["decisions", "model", "estimate", "standard_error", "p_value", "dates"]].round(4)

# %% [markdown]
# ## Before and after costs
#
# Each model is long the top fifth of stocks and short the bottom fifth, formed anew at every decision and traded
# a day later. A unit of value traded costs ten basis points (0.1%) one way, and borrowing stock to sell short 1%
# a year.

# %%
scheme = Scheme(cost=0.001, short_fee=0.01)
traded = backtest(daily, panel, scheme, delay=1)
paper.portfolio_value(traded)

# %%
found = assess(daily, panel, scheme, delay=1)
print("\n".join(textwrap.fill(sentence, 110) for sentence in sentences(found)))
found.summary[
    ["model", "side", "annual_return", "return_se", "sharpe", "sharpe_se", "turnover_per_year", "max_drawdown"]
].round(3)

# %% [markdown]
# A Sharpe ratio before costs as high as ridge's is a gift of the simulation, in which skill has no risk of its
# own. The skill is real and the profit is not: a book that is replaced every day pays more than the forecasts
# bring. The remedy is not a better model but less trading. Below, the same ridge regression, deciding daily about
# the next day and weekly about the next five, at every level of costs.

# %%
basis_points = np.arange(0, 21, 2)
curves = {}
for name, forecasts in (("daily decisions", daily), ("weekly decisions", weekly)):
    book = backtest(forecasts, panel, Scheme(cost=0.0, short_fee=0.01), delay=1)
    book = book[book["model"] == "ridge"]
    net = [book["net"] - points / 10_000 * book["turnover"] for points in basis_points]
    curves[name] = [np.sqrt(252) * series.mean() / series.std() for series in net]
sharpe = pd.DataFrame(curves, index=basis_points)
for name, column in sharpe.items():
    paid = column.index[column > 0]
    print(
        f"{name}: "
        + (f"a profit up to {paid[-1]} basis points" if len(paid) else "a loss even without costs")
        + f"; Sharpe ratio {column[0]:.2f} before costs, {column[10]:.2f} at 10."
    )
paper.lines(sharpe, "Cost of trading one unit (basis points)", "Sharpe ratio a year, net", height=3.2)

# %% [markdown]
# The standard error of a Sharpe ratio over the test window is about one over the root of its years, and belongs
# beside every point of these lines:

# %%
years = len(traded["date"].unique()) / 252
print(f"{years:.1f} years of test days: a standard error of about {1 / np.sqrt(years):.2f}.")

# %% [markdown]
# ## Which stocks may be held
#
# Returns to machine learning often sit in stocks that are tiny, cheap or close to failing (Avramov, Cheng and
# Metzker 2023). The same portfolios are formed without them. Here nothing ties skill to size, so little should
# change beyond noise; on real data this table is where many strategies end.

# %%
under = found.restrictions
under = under[(under["side"] == "net") & (under["model"] == "ridge")]
under[["restriction", "kept", "annual_return", "sharpe", "sharpe_se"]].round(3)

# %% [markdown]
# ## Are the forecasts of the right size?
#
# Ranks make portfolios; sizes make sense of them. Forecasts are sorted into five groups within each date, and
# what was forecast is held against what followed. Points on the dashed line are calibrated; a flat line says that
# forecasts are too bold.

# %%
rows = []
for model in ("ridge", "sic_kernel"):
    wide = daily.wide(model)
    group = np.ceil(5 * pd.DataFrame(wide.score).rank(axis=1, pct=True)).to_numpy()
    known = np.isfinite(wide.prediction) & np.isfinite(wide.realised)
    excess = [np.where(known, part, np.nan) for part in (wide.prediction, wide.realised)]
    some = known.any(axis=1)  # the outcome of the last date is not known yet
    group, excess = group[some], [part[some] for part in excess]
    excess = [part - np.nanmean(part, axis=1, keepdims=True) for part in excess]
    for fifth in range(1, 6):
        predicted, realised = (np.nanmean(np.where(group == fifth, part, np.nan), axis=1) for part in excess)
        mean = mean_inference(realised, daily.overlap)
        rows.append(
            {
                "model": model,
                "predicted": np.nanmean(predicted),
                "realised": mean.estimate,
                "standard_error": mean.standard_error,
            }
        )
paper.calibration(pd.DataFrame(rows))

# %% [markdown]
# ## The best of many
#
# Now real stocks, twenty large US ones, and strategies that certainly know nothing: each draws its forecasts by
# dice. We try one after the other and keep the best so far, as one does with ideas. Dots are the strategies one
# by one. Costs are left out, in favour of the dice.


# %%
class Dice:
    """Forecasts with dice."""

    units = "score"

    def __init__(self, number):
        self.number = number

    def fit(self, train, valid):
        return self

    def predict(self, blocks):
        drawn = np.random.default_rng(self.number).standard_normal(blocks.observed.shape)
        return np.where(blocks.observed, drawn, np.nan)


real = fa.sample()["2012":] if SMALL else fa.sample()["2006":]
walk = fa.WalkForward(str(real.dates[len(real) // 3]), test=len(real), valid="1Y", horizon=5, decisions="weekly")
tried = fa.walk_forward(real, {f"dice {number}": Dice(number) for number in range(4 if SMALL else 40)}, walk)
books = backtest(tried, real, Scheme(cost=0.0), delay=1).pivot(index="date", columns="model", values="gross")[
    list(tried.models)
]
year = np.sqrt(252)
each = books.mean() / books.std()  # Sharpe ratio of a day
trials = range(1, len(each) + 1)
search = pd.DataFrame(
    {
        "best so far": year * each.cummax().to_numpy(),
        "expected of as many without skill": [
            year * expected_maximum_sharpe(Trials(number, float(each.var(ddof=1)))) for number in trials
        ],
    },
    index=trials,
)
figure = paper.lines(search, "Strategies tried", "Sharpe ratio a year, before costs", height=3.2)
figure.axes[0].plot(trials, year * each.to_numpy(), ".", color="#8A929C")
figure

# %%
best = each.idxmax()
alone, deflated = (deflated_sharpe(books[best].to_numpy(), some) for some in (each[[best]].to_numpy(), each.to_numpy()))
print(f"The best of {len(each)}: {best}, Sharpe ratio {year * each[best]:.2f} a year on {len(books) / 252:.1f} years.")
print(f"Shown alone, the probability that it is truly above zero would be {alone.probability:.0%}.")
print(
    f"As the best of {len(each)} it must beat {year * deflated.benchmark:.2f}, and the probability is "
    f"{deflated.probability:.0%}."
)

# %% [markdown]
# The package counts trials for you: `walk_forward(..., ledger=FOLDER)` appends every strategy that was tried to a
# chained ledger, and the deflated Sharpe ratio is taken over all of them, the ones that were not shown included.
