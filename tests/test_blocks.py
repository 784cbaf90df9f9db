"""Blocks: the target by brute force, and every position once whatever the length."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.blocks import (
    CLIP,
    Blocks,
    Reference,
    Scaling,
    count_missing_delisting_returns,
    cut,
    factor_panel,
    forward_returns,
    observed,
    standardise,
    without_factors,
)
from finattn.config import TargetConfig
from finattn.data import simulate
from finattn.data.sic import industry_levels
from finattn.errors import InputError
from finattn.panel import Panel

few = settings(max_examples=30, deadline=None, derandomize=True)


def brute_force(panel: Panel, t: int, n: int, target: TargetConfig) -> float:
    """Walk one firm through one window, a day at a time, as DESIGN's definition reads."""
    if not panel.listed[t, n] or np.isnan(panel.returns[t, n]):
        return np.nan
    if t + target.delay + target.horizon >= len(panel):
        return np.nan
    held, value = True, 1.0
    for row in range(t + 1, t + target.delay + target.horizon + 1):
        r, listed, comes_back = panel.returns[row, n], panel.listed[row, n], panel.listed[row:, n].any()
        if held and comes_back and (not listed or (np.isnan(r) and row > t + target.delay)):
            return np.nan  # an interruption or a gap
        if held and row > t + target.delay:
            value *= 1 + (target.missing_delisting_return if np.isnan(r) else r)
        held = held and bool(listed)
    return value - 1


@st.composite
def panels(draw) -> Panel:
    days, firms = draw(st.integers(2, 25)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    returns = random.normal(0, 0.1, (days, firms)).clip(-1)
    returns[random.random(returns.shape) < draw(st.sampled_from([0.0, 0.1, 0.4]))] = np.nan
    listed = random.random(returns.shape) < draw(st.sampled_from([1.0, 0.9, 0.5]))
    returns[random.random(returns.shape) < 0.02] = -1.0
    dates = np.datetime64("2020-01-01") + np.arange(days)
    return Panel(dates, [f"F{i}" for i in range(firms)], returns, listed=listed)


def test_targets_of_a_stretch_do_not_know_whether_a_firm_comes_back_after_their_last_window():
    random = np.random.default_rng(0)
    back = np.ones((40, 3), bool)
    back[20:30, 0] = False
    gone = back.copy()
    gone[20:, 0] = False
    returns, dates = random.normal(0, 0.1, (40, 3)), np.datetime64("2020-01-01") + np.arange(40)
    returns[20:30, 0] = np.nan
    panels = [Panel(dates, list("ABC"), returns, listed=listed) for listed in (back, gone)]
    rows = np.arange(24)  # the last window ends on row 29
    scaling = Scaling.fit(panels[0], rows)
    one, other = (Blocks(panel, rows, scaling, TargetConfig(5)) for panel in panels)
    np.testing.assert_array_equal(one.realised, other.realised)
    assert np.isfinite(one.realised[19, 0])
    for first, second in zip(one.cut(0, 7), other.cut(0, 7), strict=True):
        assert first.target.equal(second.target) and first.target_observed.equal(second.target_observed)
    assert np.isnan(Blocks(panels[0], np.arange(26), scaling, TargetConfig(5)).realised[19, 0])  # an interruption


@few
@given(panels(), st.integers(1, 8), st.integers(0, 1), st.sampled_from([0.0, -0.3, -1.0]))
def test_targets_equal_a_walk_through_each_window(panel, horizon, delay, missing):
    target = TargetConfig(horizon, delay, missing)
    rows = np.arange(len(panel))
    expected = [[brute_force(panel, t, n, target) for n in range(panel.shape[1])] for t in rows]
    np.testing.assert_allclose(forward_returns(panel, rows, target), expected, atol=1e-14)
    np.testing.assert_allclose(forward_returns(panel, rows[1::2], target), expected[1::2], atol=1e-14)


def one_firm(returns, listed=None) -> Panel:
    returns = np.array(returns, float)[:, None]
    listed = None if listed is None else np.array(listed, bool)[:, None]
    return Panel(np.datetime64("2020-01-01") + np.arange(len(returns)), ["A"], returns, listed=listed)


NAN = np.nan
CASES = {
    "plain": ([0, 0.1, 0.2, 0.3], None, {"horizon": 2}, 1.1 * 1.2 - 1),
    "a day later": ([0, 0.1, 0.2, 0.3], None, {"horizon": 2, "delay": 1}, 1.2 * 1.3 - 1),
    "beyond the panel": ([0, 0.1, 0.2, 0.3], None, {"horizon": 4}, NAN),
    "to the panel's last row": ([0, 0.1, 0.2, 0.3], None, {"horizon": 3}, 1.1 * 1.2 * 1.3 - 1),
    "gap inside": ([0, 0.1, NAN, 0.3], None, {"horizon": 3}, NAN),
    "gap in the delay": ([0, NAN, 0.2, 0.3], None, {"horizon": 2, "delay": 1}, 1.2 * 1.3 - 1),
    "gap at the decision": ([NAN, 0.1, 0.2, 0.3], None, {"horizon": 2}, NAN),
    "known delisting return, then cash": ([0, 0.1, -0.4, 0.9], [1, 1, 0, 0], {"horizon": 3}, 1.1 * 0.6 - 1),
    "unknown delisting return": ([0, 0.1, NAN, NAN], [1, 1, 0, 0], {"horizon": 3}, 0.1),
    "a stand-in for it": (
        [0, 0.1, NAN, NAN],
        [1, 1, 0, 0],
        {"horizon": 3, "missing_delisting_return": -0.3},
        1.1 * 0.7 - 1,
    ),
    "a known one is not replaced": (
        [0, 0.1, -0.4, NAN],
        [1, 1, 0, 0],
        {"horizon": 3, "missing_delisting_return": -1.0},
        1.1 * 0.6 - 1,
    ),
    "gone before the trade": ([0, -0.5, 0.2, 0.3], [1, 0, 0, 0], {"horizon": 2, "delay": 1}, 0.0),
    "not listed at the decision": ([0, 0.1, 0.2, 0.3], [0, 1, 1, 1], {"horizon": 2}, NAN),
    "interrupted": ([0, 0.1, -0.4, 0.9], [1, 1, 0, 1], {"horizon": 3}, NAN),
    "interrupted, back after the window": ([0, 0.1, NAN, 0.9], [1, 1, 0, 1], {"horizon": 2}, NAN),
    "interrupted in the delay": ([0, NAN, 0.2, 0.9], [1, 0, 1, 1], {"horizon": 2, "delay": 1}, NAN),
    "total loss": ([0, -1, 0.2, 0.3], None, {"horizon": 3}, -1.0),
}


@pytest.mark.parametrize("returns, listed, target, expected", CASES.values(), ids=CASES.keys())
def test_target_of_one_firm(returns, listed, target, expected):
    found = forward_returns(one_firm(returns, listed), np.array([0]), TargetConfig(**target))[0, 0]
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-15)


def test_missing_delisting_returns_are_counted(panel):
    assert count_missing_delisting_returns(panel) == 1  # firm 3's; firm 2's is known
    assert (
        count_missing_delisting_returns(one_firm([0, NAN, NAN, 0, NAN], [1, 0, 0, 1, 0])) == 1
    )  # the first is an interruption
    assert count_missing_delisting_returns(one_firm([NAN, NAN])) == 0


def test_targets_do_not_look_before_the_decision(panel):
    returns = np.array(panel.returns)
    returns[:200][np.isfinite(returns[:200])] = 0.5
    other, rows, target = panel.replace(returns=returns), np.arange(199, 300), TargetConfig(5, 1)
    np.testing.assert_array_equal(forward_returns(panel, rows, target), forward_returns(other, rows, target))


# -- scaling ------------------------------------------------------------


def test_scaling_is_the_mean_and_deviation_of_observed_training_rows(panel):
    rows = np.arange(100, 200)
    scaling, seen = Scaling.fit(panel, rows), observed(panel, rows)
    returns = np.where(seen, panel.returns[rows], np.nan)
    excess = returns - np.nanmean(returns, axis=1, keepdims=True)
    size = np.where(seen, panel.features[rows, :, 0].astype(float), np.nan)
    for i, values in enumerate((returns, excess, size)):
        assert scaling.mean[i] == pytest.approx(np.nanmean(values), abs=1e-15)
        assert scaling.deviation[i] == pytest.approx(np.nanstd(values))
    assert scaling.width == 2 + 2 * panel.features.shape[2]


def test_scaling_uses_training_rows_only(panel):
    rows = np.r_[100:150, 160:200]
    outside = np.setdiff1d(np.arange(len(panel)), rows)
    returns, listed, more = np.array(panel.returns), np.array(panel.listed), np.array(panel.features)
    returns[outside], more[outside] = 9.0, np.nan
    listed[outside] = ~listed[outside]
    other = Scaling.fit(panel._unchecked({"returns": returns, "listed": listed, "features": more}), rows)
    ours = Scaling.fit(panel, rows)
    assert ours.mean.tobytes() == other.mean.tobytes() and ours.deviation.tobytes() == other.deviation.tobytes()


def test_firm_days_that_are_not_observed_do_not_scale(panel):
    more = np.array(panel.features)
    rows = np.arange(100, 200)
    more[~observed(panel, slice(None))] = 1e6
    np.testing.assert_array_equal(Scaling.fit(panel.replace(features=more), rows).mean, Scaling.fit(panel, rows).mean)


def test_training_rows_without_a_return_are_refused(panel):
    empty = panel.replace(returns=np.full(panel.shape, np.nan))
    with pytest.raises(InputError, match="training rows must hold returns, found none in 10 rows"):
        Scaling.fit(empty, np.arange(10))
    with pytest.raises(InputError, match="found none in 0 rows"):
        Scaling.fit(panel, np.arange(0))


def test_a_feature_missing_in_training_or_constant_gives_finite_inputs(panel):
    more = np.stack([np.full(panel.shape, np.nan), np.full(panel.shape, 3.0)], axis=2)
    more[300:, :, 0] = 7.0
    constant = panel.replace(features=more, feature_names=("late", "constant"))
    scaling = Scaling.fit(constant, np.arange(100, 200))
    assert scaling.mean[2:].tolist() == [0, 3] and scaling.deviation[2:].tolist() == [1, 1]
    x = scaling.apply(constant, slice(290, 310))
    assert np.isfinite(x).all()
    assert (x[:10, :, 2] == 0).all() and (x[:10, :, 4] == 1).all()  # missing: 0 with its indicator
    assert (x[10:, :, 2] == CLIP).all() and (x[10:, :, 4] == 0).all()  # 7 is cut at five deviations
    assert (x[:, :, 3] == 0).all() and (x[:, :, 5] == 0).all()


def test_inputs_are_finite_whatever_the_panel_holds(panel):
    random = np.random.default_rng(0)
    returns, more = np.array(panel.returns), np.array(panel.features)
    for values in (returns, more):
        for wild in (np.nan, np.inf, -np.inf, 1e30):
            values[random.random(values.shape) < 0.1] = wild
    wild = panel._unchecked({"returns": returns, "features": more})
    x = Scaling.fit(panel, np.arange(300)).apply(wild, slice(0, 400))
    assert x.dtype == np.float32 and np.isfinite(x).all() and np.abs(x).max() <= CLIP
    missing = x[:, :, -panel.features.shape[2] :]
    np.testing.assert_array_equal(missing == 1, ~np.isfinite(more[:400]))


def test_inputs_of_a_day_are_of_that_day(panel):
    scaling = Scaling.fit(panel, np.arange(100, 200))
    whole, single = scaling.apply(panel, slice(0, 400)), scaling.apply(panel, slice(250, 251))
    np.testing.assert_array_equal(whole[250:251], single)


# -- cutting ------------------------------------------------------------


@few
@given(st.data())
def test_blocks_hold_each_position_once_after_its_context(panel, data):
    positions = np.array(data.draw(st.lists(st.integers(0, 80), min_size=1, unique=True).map(sorted)))
    warmup, length = data.draw(st.integers(0, 30)), data.draw(st.integers(1, 100))
    panel = panel[150:231]
    blocks = Blocks(panel, positions, Scaling.fit(panel, np.arange(80)), TargetConfig(3, 1))
    days = panel.dates.astype(np.int64)
    scored = []
    for block in blocks.cut(warmup, length):
        rows = np.searchsorted(days, block.date.numpy())
        assert (np.diff(rows) == 1).all() and len(rows) - block.warmup <= length
        assert block.warmup <= warmup and (block.warmup == warmup or rows[0] == 0)
        assert not block.decision[: block.warmup].any() and len(block.scored)
        scored.extend(rows[block.scored.numpy()])
        np.testing.assert_array_equal(block.x, blocks.scaling.apply(panel, slice(rows[0], rows[-1] + 1)))
        np.testing.assert_array_equal(block.observed, observed(panel, rows))
        levels = industry_levels(panel.industry[rows], "sic")
        np.testing.assert_array_equal(block.industry, np.moveaxis(levels, 0, 2))
        realised = forward_returns(panel, rows[block.scored.numpy()], TargetConfig(3, 1))
        known = block.target_observed[block.scored].numpy()
        np.testing.assert_array_equal(known, ~np.isnan(realised))
        np.testing.assert_allclose(block.target[block.scored].numpy()[known], realised[known], rtol=1e-6, atol=1e-8)
        assert not block.target_observed[~block.decision].any() and torch.isfinite(block.target).all()
    assert scored == positions.tolist()


def test_a_block_has_plain_types(panel):
    blocks = Blocks(panel, np.arange(300, 310), Scaling.fit(panel, np.arange(300)), TargetConfig())
    block = next(blocks.cut(5, 100))
    kinds = {"x": torch.float32, "observed": torch.bool, "target": torch.float32, "target_observed": torch.bool}
    for name, kind in (kinds | {"industry": torch.int32, "decision": torch.bool, "date": torch.int64}).items():
        assert getattr(block, name).dtype == kind, name
    assert block.firm.tolist() == list(range(12)) and block.reference is None
    block.industry[0, 0, 0] = 1  # its own memory: the panel is read-only
    assert panel.industry[295, 0] != 1


def test_positions_of_another_kind_see_the_same_panel(panel):
    scaling = Scaling.fit(panel, np.arange(300))
    blocks = Blocks(panel, [300, 305], scaling, TargetConfig())
    np.testing.assert_array_equal(blocks.dates, panel.dates[[300, 305]])
    np.testing.assert_array_equal(blocks.at(np.array([300], np.uint16)).positions, [300])
    np.testing.assert_array_equal(blocks.observed, observed(panel, np.array([300, 305])))
    np.testing.assert_array_equal(blocks.realised, forward_returns(panel, np.array([300, 305]), TargetConfig()))


@pytest.mark.parametrize(
    "positions, message",
    [
        ([], "increasing rows of the panel's 420, found 0"),
        ([3, 2], "found 2 from 3 to 2"),
        (np.array([3, 2], np.uint64), "found 2 from 3 to 2"),
        ([3, 3], "found 2 from 3 to 3"),
        ([-1, 3], "found 2 from -1 to 3"),
        ([400, 420], "found 2 from 400 to 420"),
    ],
)
def test_refuses_positions_that_are_no_rows(panel, positions, message):
    with pytest.raises(InputError, match=message):
        Blocks(panel, positions, Scaling.fit(panel, np.arange(300)), TargetConfig())


# -- standardising ------------------------------------------------------------


def test_standardised_targets_have_mean_zero_and_deviation_one_on_each_date():
    values = torch.tensor([[1.0, 2.0, 3.0, 99.0], [5.0, 5.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0], [7.0, 1.0, 1.0, 1.0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    z = standardise(values, mask)
    assert z[0].tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5, 0], abs=1e-6)
    assert (z[1:] == 0).all()


@few
@given(st.integers(0, 100))
def test_standardising_forgets_level_and_scale(seed):
    generator = torch.Generator().manual_seed(seed)
    values, mask = torch.randn(6, 9, generator=generator), torch.rand(6, 9, generator=generator) < 0.7
    z = standardise(values, mask)
    torch.testing.assert_close(standardise(3 * values + 2, mask), z, atol=1e-5, rtol=1e-4)
    assert (z[~mask] == 0).all() and torch.isfinite(z).all()
    torch.testing.assert_close(standardise(z, mask), z, atol=1e-5, rtol=1e-4)


# -- a reference universe and neighbours ------------------------------------------------------------


def with_factors(panel):
    random = np.random.default_rng(3)
    return panel.replace(factors=0.01 * random.standard_normal((len(panel), 2)), factor_names=["market", "size"])


def test_a_reference_is_cut_on_the_same_rows(panel):
    factors = factor_panel(with_factors(panel))
    reference = Reference(factors, Scaling.fit(factors, np.arange(200)))
    blocks = Blocks(panel, np.arange(100, 160), Scaling.fit(panel, np.arange(200)), TargetConfig(), reference)
    for block in blocks.at(np.arange(120, 150)).cut(warmup=7, length=20):
        rows = slice(int(np.searchsorted(panel.dates.astype(int), block.date[0].item())), None)
        expected = reference.scaling.apply(factors, slice(rows.start, rows.start + len(block.x)))
        np.testing.assert_array_equal(block.reference, expected)
        assert block.reference.shape[1:] == (2, reference.scaling.width) and block.reference_observed.all()


def test_factors_keep_their_names_and_returns(panel):
    factors = factor_panel(with_factors(panel))
    assert factors.firms.tolist() == ["market", "size"] and factors.periods_per_year == panel.periods_per_year
    np.testing.assert_array_equal(factors.returns, with_factors(panel).factors)


def test_a_panel_without_factors_has_no_panel_of_them(panel):
    with pytest.raises(InputError, match="a panel of factors needs factors, found a panel without them"):
        factor_panel(panel)


def test_a_reference_on_other_dates_is_refused(panel):
    other = panel[1:]
    reference = Reference(other, Scaling.fit(other, np.arange(200)))
    with pytest.raises(InputError, match="a reference must have the panel's 420 dates, found 419 or other ones"):
        Blocks(panel, np.arange(5), Scaling.fit(panel, np.arange(200)), TargetConfig(), reference)


@pytest.mark.parametrize("dated", [False, True])
def test_neighbours_are_those_given(panel, dated):
    given = np.random.default_rng(0).random((len(panel), 12, 12) if dated else (12, 12)) < 0.5
    blocks = Blocks(panel, np.arange(90, 99), Scaling.fit(panel, np.arange(80)), TargetConfig(), neighbours=given)
    (block,) = blocks.at(np.arange(92, 95)).cut(warmup=2, length=9)
    np.testing.assert_array_equal(block.neighbours, given[90:95] if dated else given)
    part = cut(block, slice(1, 3))
    np.testing.assert_array_equal(part.neighbours, given[91:93] if dated else given)
    assert len(part.x) == len(part.date) == 2 and part.warmup == 0 and torch.equal(part.firm, block.firm)


def test_neighbours_of_another_shape_are_refused(panel):
    with pytest.raises(InputError, match=r"neighbours must have shape \(12, 12\) or \(420, 12, 12\), found \(3, 3\)"):
        Blocks(panel, np.arange(5), Scaling.fit(panel, np.arange(80)), TargetConfig(), neighbours=np.ones((3, 3)) > 0)


def factors_of(panel: Panel) -> int:
    return panel.factors.shape[1]


@pytest.mark.parametrize(("horizon", "delay"), [(1, 0), (3, 1)])
def test_returns_without_factors_are_the_residuals_of_a_regression_of_each_firm(horizon, delay):
    panel, rows = simulate(48, 130, seed=2).panel, np.arange(100)
    blocks = Blocks(panel, rows, Scaling.fit(panel, rows), TargetConfig(horizon, delay))
    found, known = without_factors(blocks), ~np.isnan(blocks.realised)
    growth = np.ones((100, factors_of(panel)))
    for step in range(delay + 1, delay + horizon + 1):
        growth *= 1 + panel.factors[rows + step]
    known &= known.sum(axis=0) > factors_of(panel)
    for firm in np.flatnonzero(known.any(axis=0)):
        here = known[:, firm]
        factors, returns = (growth - 1)[here], blocks.realised[here, firm]
        expected = returns - factors @ np.linalg.lstsq(factors, returns)[0]
        np.testing.assert_allclose(found[here, firm], expected, atol=1e-9)
    np.testing.assert_array_equal(np.isnan(found), ~known)


@pytest.mark.parametrize(("horizon", "delay", "lost"), [(1, 0, [49]), (3, 1, [46, 47, 48])])
def test_targets_with_a_factor_that_is_not_known_are_none_and_no_others(horizon, delay, lost):
    panel, rows = simulate(48, 130, seed=2).panel, np.arange(100)
    factors = panel.factors.copy()
    factors[50, 0] = np.nan
    whole, part = (
        without_factors(Blocks(one, rows, Scaling.fit(one, rows), TargetConfig(horizon, delay)))
        for one in (panel, panel.replace(factors=factors))
    )
    gone = ~np.isnan(whole) & np.isnan(part)
    assert np.flatnonzero(gone.any(axis=1)).tolist() == lost and np.isnan(part[lost]).all()


def test_factors_after_the_last_target_change_no_loading():
    panel, rows = simulate(48, 130, seed=2).panel, np.arange(100)
    factors, returns = panel.factors.copy(), panel.returns.copy()
    factors[103:], returns[103:] = 1.0, np.where(np.isnan(returns[103:]), np.nan, -0.5)
    other = panel.replace(factors=factors, returns=returns)
    parts = [Blocks(one, rows, Scaling.fit(one, rows), TargetConfig(2, 1)) for one in (panel, other)]
    np.testing.assert_array_equal(*map(without_factors, parts))


def test_a_panel_without_factors_has_no_returns_without_them():
    panel = simulate(48, 60).panel.replace(factors=None, factor_names=())
    blocks = Blocks(panel, np.arange(30), Scaling.fit(panel, np.arange(30)), TargetConfig())
    with pytest.raises(InputError, match="without_factors needs a panel with factors, found one without"):
        without_factors(blocks)
