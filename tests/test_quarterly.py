"""Simulated quarterly reports: directed peers by what is reported, heard a quarter late, as strong as asked for."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sec_zips import filing, number, write_quarters

from finattn import features, ladder_pipeline, training
from finattn.baselines import SICKernel
from finattn.blocks import Blocks, Scaling, forward_returns
from finattn.cli.arguments import find
from finattn.config import DataConfig, RunConfig, TargetConfig
from finattn.config_file import read_yaml
from finattn.data import load, simulate_quarterly
from finattn.data.industries import fama_french_groups
from finattn.data.quarterly import QUARTER
from finattn.data.sic import sic_division
from finattn.errors import InputError
from finattn.ladder import select
from finattn.look_up import LookUp, LookUpConfig
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.panel import Panel
from finattn.pipeline import walk_forward_splits
from finattn.splits import decision_mask

TARGET = TargetConfig(horizon=QUARTER)


@pytest.fixture(scope="module")
def simulated():
    return simulate_quarterly(firms=80, years=6, seed=2)


@pytest.fixture(scope="module")
def strong():
    return simulate_quarterly(firms=80, years=8, r2=0.1, peers_of_peers=0.3, seed=1)


def sectors(panel):
    return panel.industry[0] // 100


def column(panel, name):
    return panel.features[:, :, panel.feature_names.index(name)]


def quarter_ends(panel):
    rows = np.flatnonzero(decision_mask(panel.dates, "quarter-end"))
    return rows[rows + QUARTER < len(panel)]


# -- the panel ------------------------------------------------------------


def test_dates_are_weekdays_of_whole_years_without_holidays(simulated):
    dates = simulated.panel.dates
    assert np.is_busday(dates).all() and str(dates[0]) == "2000-01-03" and str(dates[-1]) == "2005-12-30"
    assert not np.isin(np.array(["2003-07-04", "2003-12-25", "2004-01-01"], "M8[D]"), dates).any()
    assert np.unique(dates.astype("M8[Y]"), return_counts=True)[1] == pytest.approx(250.5, abs=1.5)


def test_firms_have_five_characteristics_and_sic_codes_of_the_same_sectors(simulated):
    panel = simulated.panel
    assert panel.feature_names == ("size", "leverage", "rnd", "roa", *(f"sector_{place}" for place in range(1, 9)))
    assert (
        (sic_division(panel.industry) > 0).all()
        and panel.industry_as_of
        and (np.diff(panel.industry, axis=0) == 0).all()
    )
    dummies = panel.features[:, :, 4:]
    assert (np.sort(dummies, axis=2) == [0] * 7 + [1]).all() and (dummies == dummies[0]).all()
    assert len(set(zip(dummies[0].argmax(axis=1).tolist(), sectors(panel).tolist(), strict=True))) == 8
    assert panel.listed.all() and np.isfinite(panel.returns).all() and panel.factors.shape == (len(panel), 1)


def test_characteristics_lie_where_those_of_firms_do(simulated):
    panel = simulated.panel
    size, leverage, rnd, roa = (column(panel, name) for name in ("size", "leverage", "rnd", "roa"))
    assert 20 < size.mean() < 23 and 1 < size[0].std() < 2.2
    assert leverage.min() >= 0 and leverage.max() <= 0.95 and 0.15 < leverage.mean() < 0.35
    assert 0.3 < (rnd == 0).mean() < 0.7 and 0 < rnd.max() <= 0.5
    assert roa.min() >= -0.6 and roa.max() <= 0.4 and 0 < np.median(roa) < 0.08
    spends = {sector: (rnd[0, sectors(panel) == sector] > 0).mean() for sector in np.unique(sectors(panel))}
    assert min(spends[28], spends[36], spends[38]) > 0.5 and spends[49] == spends[60] == 0


def test_reports_change_four_times_a_year_sixty_days_after_the_quarter_and_slowly(simulated):
    panel = simulated.panel
    values = panel.features[:, :, :4]
    changed = np.flatnonzero((values[1:] != values[:-1]).any(axis=(1, 2))) + 1
    assert len(changed) == 4 * 6
    for row in changed:
        quarter_end = (panel.dates[row] - 60).astype("M8[M]").astype(int) // 3 * 3
        day = np.datetime64(int(quarter_end), "M").astype("M8[D]") - 1
        assert panel.dates[row - 1] - day < np.timedelta64(61, "D") <= panel.dates[row] - day
    before, after = values[changed[0]], values[changed[3]]
    for place, least in enumerate((0.9, 0.8, 0.8, 0.5)):
        assert least < np.corrcoef(before[:, place], after[:, place])[0, 1] < 0.9999


def test_volatility_and_the_common_factor_are_as_said(simulated):
    panel, truth = simulated
    assert panel.returns.std() == pytest.approx(0.022, rel=0.05) and truth.clipped == 0
    assert np.corrcoef(panel.returns.mean(axis=1), panel.factors[:, 0])[0, 1] > 0.9
    assert (panel.factors[:, 0].std() / panel.returns.std()) ** 2 == pytest.approx(0.25, abs=0.03)


def test_the_same_seed_gives_the_same_panel_and_another_strength_the_same_reports(simulated):
    panel, truth = simulated
    again = simulate_quarterly(firms=80, years=6, seed=2)
    assert again.panel.fingerprint == panel.fingerprint and np.array_equal(again.truth.oracle, truth.oracle)
    assert simulate_quarterly(firms=80, years=6, seed=3).panel.fingerprint != panel.fingerprint
    none = simulate_quarterly(firms=80, years=6, r2=0.0, seed=2)
    np.testing.assert_array_equal(none.panel.features, panel.features)
    np.testing.assert_array_equal(none.truth.query_map, truth.query_map)
    assert none.truth.slope == none.truth.r2 == 0 and not none.truth.oracle.any()
    first = slice(0, QUARTER)  # nothing is heard yet
    np.testing.assert_allclose(panel.returns[first] / np.sqrt(0.95), none.panel.returns[first], atol=1e-12)


def test_the_source_says_that_it_is_simulated_and_how(simulated):
    source = simulated.panel.source
    assert json.loads(json.dumps(source)) == source and "Simulated firms" in source["caveats"][0]
    assert source["settings"] == {"r2": 0.05, "cross_sector": 0.8, "peers_of_peers": 0.0, "seed": 2}
    assert "reports more than 60 days after the quarter's end" in source["availability"]


def test_the_panel_can_be_saved(simulated, tmp_path):
    panel = simulated.panel[:40]
    assert Panel.load(panel.save(tmp_path / "panel")).fingerprint == panel.fingerprint


# -- the truth ------------------------------------------------------------


def plain_forecast(panel, truth, firm, of_peers):
    """Compute the oracle on the last row of a panel from the formulas in `Delayed`, one row and one firm at a time."""
    growth = 1.0
    for row in range(max(0, len(panel) - QUARTER), len(panel)):
        z, excess = panel.features[row].astype(float), panel.returns[row] - panel.returns[row].mean()

        def hear(own, values, z=z):
            scores = np.array([(z[own] @ truth.query_map + truth.query_bias) @ (other @ truth.key_map) for other in z])
            weights = np.where(np.arange(len(z)) == own, 0.0, np.exp(scores - scores.max()))
            return weights @ values / weights.sum()

        told = hear(firm, excess)
        if of_peers:
            told = (1 - of_peers) * told + of_peers * hear(firm, [hear(other, excess) for other in range(len(z))])
        growth *= 1 + truth.slope * told
    return growth - 1


@pytest.mark.parametrize("row", [0, 40, 100, 400])
def test_the_oracle_follows_from_the_rows_up_to_its_own(simulated, row):
    panel, truth = simulated
    expected = [plain_forecast(panel[: row + 1], truth, firm, 0.0) for firm in (0, 7, 51)]
    np.testing.assert_allclose(truth.oracle[row, [0, 7, 51]], expected, rtol=0, atol=1e-10)


def test_what_peers_hear_of_theirs_is_in_the_oracle(strong):
    panel, truth = strong
    expected = plain_forecast(panel[:6], truth, 5, 0.3)
    assert truth.oracle[5, 5] == pytest.approx(expected, abs=1e-10)
    assert abs(expected - plain_forecast(panel[:6], truth, 5, 0.0)) > 1e-4


def test_the_next_quarters_return_follows_the_oracle_one_for_one(strong):
    panel, truth = strong
    rows = np.arange(QUARTER, len(panel) - QUARTER, 21)
    realised, oracle = forward_returns(panel, rows, TARGET), truth.oracle[rows]
    realised, oracle = (values - values.mean(axis=1, keepdims=True) for values in (realised, oracle))
    assert (oracle * realised).sum() / (oracle**2).sum() == pytest.approx(1, abs=0.15)


def test_nothing_is_heard_before_a_quarter_is_over(strong):
    panel, truth = strong
    rows = np.arange(1, QUARTER)
    heard = np.expm1(np.diff(np.log1p(truth.oracle[:QUARTER]), axis=0)).ravel()  # on these rows, one by one
    late, early = (np.corrcoef(heard, panel.returns[rows + lag].ravel())[0, 1] for lag in (QUARTER, QUARTER - 1))
    assert late > 0.2 and abs(early) < 0.06


def test_r2_is_that_of_quarters_at_quarter_ends(strong):
    panel, truth = strong
    rows = quarter_ends(panel)
    realised = forward_returns(panel, rows, TARGET)
    expected = 1 - ((realised - truth.oracle[rows]) ** 2).sum() / (realised**2).sum()
    assert truth.r2 == pytest.approx(expected, rel=1e-6)
    assert list(truth.parts) == ["peers"] and truth.parts["peers"] is truth.oracle
    assert truth.relevant["peers"] == panel.feature_names


@pytest.mark.parametrize("r2, peers_of_peers", [(0.02, 0.0), (0.05, 0.5)])
def test_the_oracle_is_as_good_as_asked_for(r2, peers_of_peers):
    found = [simulate_quarterly(60, 12, r2=r2, peers_of_peers=peers_of_peers, seed=seed).truth.r2 for seed in range(8)]
    assert np.mean(found) == pytest.approx(r2, rel=0.2)


@pytest.mark.parametrize("share, low, high", [(0.0, 0.0, 0.05), (0.5, 0.4, 0.6), (1.0, 0.9, 1.0)])
def test_as_many_sectors_as_asked_for_look_to_another(share, low, high):
    panel, truth = simulate_quarterly(firms=160, years=1, cross_sector=share, seed=4)
    weights, apart = truth.attention(panel.features[0]), sectors(panel)[:, None] != sectors(panel)[None, :]
    assert truth.cross_sector == pytest.approx((weights * apart).sum() / 160) and low <= truth.cross_sector <= high
    crossing = (weights * apart).sum(axis=1)
    assert ((crossing < 0.2) | (crossing > 0.8)).mean() > 0.9  # a sector looks to one sector


def test_attention_has_a_direction_and_about_five_peers(simulated):
    panel, truth = simulated
    z, weights = panel.features[0], truth.attention(panel.features[0])
    assert np.array_equal(weights, truth.attention(panel.features[:2])[0]) and not weights.diagonal().any()
    assert np.abs(weights - weights.T).sum() > np.abs(weights).sum()
    assert 3 < np.median(1 / (weights**2).sum(axis=1)) < 8
    size, rnd, leverage, roa = (z[:, panel.feature_names.index(name)] for name in ("size", "rnd", "leverage", "roa"))
    seek_large = (rnd - 0.05) / 0.08 - (size - 21.5) / 1.6
    seek_profit = (leverage - 0.25) / 0.15 - (roa - 0.03) / 0.07
    for seek, presents in ((seek_large, size), (seek_profit, roa)):
        assert np.corrcoef(seek, weights @ presents)[0, 1] > 0.3
    with pytest.raises(ValueError, match="read-only"):
        truth.query_map[0, 0] = 1.0


# -- what forecasters can find ------------------------------------------------------------


def blocks(panel):
    rows = np.arange(QUARTER, len(panel) - QUARTER)
    return Blocks(panel, rows[::21], Scaling.fit(panel, rows), TARGET)


def skill(scores, seen):
    return mean_over_dates(rank_information_coefficient(scores, seen.realised))


def test_a_fixed_kernel_on_codes_is_right_without_crossing_and_only_then():
    found = {}
    for share in (0.0, 1.0):
        panel, truth = simulate_quarterly(firms=120, years=10, r2=0.1, cross_sector=share, seed=5)
        seen = blocks(panel)
        kernel = SICKernel((QUARTER,), (), 2).fit(seen, seen)
        found[share] = skill(kernel.predict(seen), seen) / skill(truth.oracle[seen.positions], seen)
    assert found[0.0] > 0.3 and found[1.0] < 0.2


def test_a_look_up_can_be_equal_to_the_truth(simulated):
    panel, truth = simulated
    seen, places = blocks(panel), truth.query_map.shape[1]
    look_up = LookUp(seen.scaling.width, LookUpConfig(rank=places, windows=(QUARTER,), heads=1))
    mean, deviation = seen.scaling.mean[2:], seen.scaling.deviation[2:]
    with torch.no_grad():
        for layer, given in ((look_up.query, truth.query_map), (look_up.key, truth.key_map)):
            layer.weight.zero_()
            layer.weight[:, : len(mean)] = torch.from_numpy((given * deviation[:, None]).T * places**0.25)
        look_up.query.bias.copy_(torch.from_numpy((truth.query_bias + mean @ truth.query_map) * places**0.25))
        block = next(seen.cut(look_up.warmup, len(panel)))
        scores, weights = look_up(block)[block.scored].numpy(), look_up.attention(block)[:, 0].numpy()
    oracle = truth.oracle[seen.positions]
    correlation = [np.corrcoef(one, other)[0, 1] for one, other in zip(scores, oracle, strict=True)]
    differ = np.abs(weights - truth.attention(panel.features[seen.positions])).sum(axis=2)
    assert np.median(differ) < 1e-5 and differ.mean() < 0.02  # but where inputs are cut at five deviations
    assert np.mean(correlation) > 0.9


# -- settings ------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"firms": 47}, "firms must be a whole number of at least 48, found 47"),
        ({"years": 0}, "years must be a whole number of at least 1, found 0"),
        ({"years": 101}, "years must be at most 100, found 101"),
        ({"r2": 0.5}, "r2 must be at least 0 and below 0.5, found 0.5"),
        ({"r2": float("nan")}, "r2 must be at least 0 and below 0.5, found nan"),
        ({"cross_sector": 1.1}, "cross_sector must be from 0 to 1, found 1.1"),
        ({"peers_of_peers": -0.1}, "peers_of_peers must be from 0 to 1, found -0.1"),
        ({"seed": 0.5}, "seed must be a whole number of at least 0, found 0.5"),
        (
            {"firms": 60, "years": 1, "r2": 0.4},
            "r2 must be lower, or peers_of_peers: a firm hears 1.* of a peer's return, found 0.4",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        simulate_quarterly(**settings)


def test_a_year_has_a_quarter_to_be_judged_by_and_the_first_days_have_none():
    assert np.isfinite(simulate_quarterly(firms=48, years=1).truth.r2)


def test_a_configuration_makes_the_same_panel():
    given = {"kind": "quarterly", "firms": 60, "years": 2, "r2": 0.04, "cross_industry": 0.5, "peers_of_peers": 0.2}
    found = load(DataConfig("simulated", start="2000-06-01", simulated=given | {"seed": 7}))
    expected = simulate_quarterly(60, 2, r2=0.04, cross_sector=0.5, peers_of_peers=0.2, seed=7).panel["2000-06-01":]
    assert found.fingerprint == expected.fingerprint


def test_the_shipped_ladder_has_its_rungs_on_such_a_panel():
    config = RunConfig(**read_yaml(find(Path("configs/quarterly_peers.yaml"))))
    panel = load(dataclasses.replace(config.data, simulated={"kind": "quarterly", "firms": 48, "years": 1}))
    assert [rung.name for rung in select(config, panel)] == list(config.ladder.rungs)
    assert (config.target.horizon, config.baselines.look_up_windows) == (QUARTER, (QUARTER,))
    assert config.data.simulated.kind == "quarterly" and config.splits.decisions == "quarter-end"


# -- the same configuration with the SEC's data ------------------------------------------------------------

CIKS, CODES = range(11, 21), [3571, 2834, 6021, 4911, 0]
TAGS = {
    "Assets": 0, "Liabilities": 0, "Revenues": 4, "ResearchAndDevelopmentExpense": 4, "NetIncomeLoss": 4
}  # fmt: skip


def uncommented() -> dict:
    """Return the shipped configuration with its commented lines in place of those that they follow."""
    text = find(Path("configs/quarterly_peers.yaml")).read_text(encoding="utf-8")
    content = yaml.safe_load(re.sub(r"^( *)# ( *\w+:)", r"\1\2", text, flags=re.M))
    del content["data"]["simulated"]
    return content


def annual_reports(folder: Path) -> tuple[Path, dict[pd.Timestamp, dict[int, float]]]:
    """Write reports of five years; return their folder, and assets by the close at which they were first known."""
    random, filings, numbers, known = np.random.default_rng(0), [], [], {}
    for year in range(2011, 2016):
        for place, cik in enumerate(CIKS):
            late = place == 3  # after the close: known on the next day
            day = np.busday_offset(f"{year + 1}-02-03", place, roll="forward")
            more = {"sic": CODES[place % len(CODES)] or ""}
            of = filing(len(filings), cik, "10-K", f"{year}-12-31", f"{day} {'16:30' if late else '09:30'}:00", **more)
            filings.append(of)
            values = 10.0 ** random.uniform(6, 11, len(TAGS)).round(2)
            numbers += [number(of, tag, f"{year}-12-31", TAGS[tag], x) for tag, x in zip(TAGS, values, strict=True)]
            known.setdefault(pd.Timestamp(np.busday_offset(day, int(late))), {})[place] = float(f"{values[0]:.4f}")
    return write_quarters(folder, filings, numbers), known


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Return a run of the shipped configuration on reports of ten firms, and their assets as they were known."""
    folder = tmp_path_factory.mktemp("reported")
    zips, known = annual_reports(folder / "sec")
    dates = pd.bdate_range("2012-01-02", "2016-12-30")
    returns = 0.02 * np.random.default_rng(1).standard_normal((len(dates), len(CIKS)))
    Panel(dates.to_numpy(), [str(cik) for cik in CIKS], returns).to_frame()[["date", "firm", "return"]].to_csv(
        folder / "returns.csv", index=False
    )
    content = uncommented()
    assert content["data"].pop("source") == "yahoo" and content["data"].pop("yahoo")["tickers"]
    content["data"] |= {"source": "file", "path": str(folder / "returns.csv")}
    content["data"]["sec"] |= {"folder": str(zips), "identify": "cik", "first": "2012Q1"}
    content["splits"] |= {"first_test": "2015-07-01", "test": "2Y", "valid": "1Y"}
    content["training"] |= {"epochs": 1, "minimum_epochs": 1}
    content |= {"model": {"width": 8, "feed_forward": 8}, "ladder": {"rungs": ["sic_kernel", "look_up", "firm"]}}
    return RunConfig(**content, out=str(folder / "runs")), known


def test_reports_to_the_sec_are_ranked_across_firms_from_the_close_at_which_they_were_known(reported):
    config, known = reported
    panel = features.build(load(config.data), config.features)
    sectors = tuple(f"sector_{group.short_name}" for group in fama_french_groups(12))
    assert tuple(config.features) == config.data.sec.items and panel.feature_names == (*config.features, *sectors)
    days = pd.DataFrame.from_dict(known, orient="index").reindex(panel.dates, columns=range(len(CIKS))).ffill()
    expected = features.rank(days.to_numpy(), np.ones(panel.shape, bool))
    np.testing.assert_allclose(column(panel, "assets"), expected, atol=1e-6)
    assert np.isnan(expected[:20]).all() and len(np.unique(expected[40])) == len(CIKS)
    others = panel.features[300:, :, 1:4]
    assert (others.min(axis=(0, 1)) == -1).all() and (others.max(axis=(0, 1)) == 1).all()
    seen = days.notna().to_numpy()
    for code, name in zip(CODES, ("BusEq", "Hlth", "Money", "Utils", None), strict=True):
        firms = [place for place in range(len(CIKS)) if CODES[place % len(CODES)] == code]
        inside = panel.features[:, firms, len(config.features) :]
        assert (inside.sum(axis=2) == (seen[:, firms] if code else 0)).all()
        assert not name or (column(panel, f"sector_{name}")[:, firms] == seen[:, firms]).all()


def test_the_ladder_climbs_on_reports_to_the_sec(reported, monkeypatch):
    config, _ = reported
    quick = dataclasses.replace(training.LOOK_UP_TRAINING, epochs=1, minimum_epochs=1)
    monkeypatch.setattr(training, "LOOK_UP_TRAINING", quick)
    table = pd.read_parquet(ladder_pipeline.run(config).parent / "table.parquet")
    assert table["rung"].tolist() == ["sic_kernel", "look_up", "firm"] and np.isfinite(table["rank_ic"]).all()
    splits, panel = walk_forward_splits(config), features.build(load(config.data), config.features)
    assert [rung.name for rung in select(config, panel)] == table["rung"].tolist()
    (fold,) = splits.split(panel.dates)
    assert splits.start == 1 and set(np.diff(fold.train)) == {5} and set(np.diff(fold.valid)) == {1}


@pytest.mark.parametrize(
    "given, message",
    [
        ({"kind": "monthly"}, "data.simulated.kind must be one of daily, quarterly, found 'monthly'"),
        ({"years": 3}, "data.simulated.years must be left out unless kind is 'quarterly', found 3"),
        ({"peers_of_peers": 0.1}, "data.simulated.peers_of_peers must be left out unless kind is 'quarterly'"),
        ({"kind": "quarterly", "days": 30}, "data.simulated.days must be left out unless kind is 'daily', found 30"),
        (
            {"kind": "quarterly", "design": {"peers": 3}},
            "data.simulated.design must be left out unless kind is 'daily'",
        ),
        ({"kind": "quarterly", "years": 0}, "data.simulated.years must be at least 1, found 0"),
        ({"kind": "quarterly", "firms": 10**6}, "data.simulated.firms must be such that firms x days is at most"),
    ],
)
def test_keys_of_the_other_kind_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        DataConfig("simulated", simulated=given)
