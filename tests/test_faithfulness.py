"""What a model loses when what an explanation calls important is taken away."""

import numpy as np
import pandas as pd
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity

from finattn.blocks import Blocks, Scaling
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.evaluation.comparisons import bootstrap_mean
from finattn.explain import faithfulness, gradients, join
from finattn.explain import gates as gated
from finattn.explain.explanation import COLUMNS, OTHERS, Explanation
from finattn.explain.faithfulness import Removal, deletion, infidelity, insertion, sample_targets
from finattn.explain.scene import Corrected, scenes, view
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer
from finattn.panel import Panel

FIRMS, DAYS = 11, 60


@pytest.fixture(scope="module")
def chain():
    """Blocks in which each firm's next return is today's return of the firm after it."""
    first = np.random.default_rng(0).standard_normal(FIRMS)
    returns = 0.01 * np.stack([np.roll(first, -day) for day in range(DAYS)])
    dates = np.arange("2020-01-01", DAYS, dtype="datetime64[D]")
    panel = Panel(dates, [f"F{i:02d}" for i in range(FIRMS)], returns)
    return Blocks(panel, np.arange(20, 50), Scaling.fit(panel, np.arange(20)), TargetConfig(1))


class Reads(torch.nn.Module):
    """A model whose score is one input of one firm on one row back."""

    def __init__(self, step=0, lag=0, column=0, warmup=3):
        super().__init__()
        self.step, self.lag, self.column, self.warmup = step, lag, column, warmup

    def forward(self, block):
        x = block.x[..., self.column].roll(-self.step, 1).roll(self.lag, 0)
        scored = torch.zeros(len(block.x), dtype=bool).index_fill(0, block.scored, True)
        return x.masked_fill(~(block.observed & scored[:, None]), torch.nan)


def explanation(blocks, targets, kind, keys, score, method="given"):
    """Explain by a function of firm's and key's place."""
    place = {str(firm): i for i, firm in enumerate(blocks.panel.firms)}
    rows = [
        (date, firm, "m", method, kind, key, float(score(place[firm], i)))
        for date, firm in targets
        for i, key in enumerate(keys)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return Explanation(table.assign(date=pd.to_datetime(table["date"])))


def peers(blocks, targets, score, method="given"):
    return explanation(blocks, targets, "peer", list(blocks.panel.firms), score, method)


def is_next(i, j):
    return j == (i + 1) % FIRMS


# -- curves ------------------------------------------------------------


def test_a_model_that_reads_one_peer_loses_everything_with_that_peer_and_nothing_before(chain):
    targets = sample_targets(chain, 8, FIRMS)
    found = join(
        [
            peers(chain, targets, is_next, "knows"),
            peers(chain, targets, lambda i, j: 1 - is_next(i, j), "is_wrong"),
            peers(chain, targets, lambda i, j: -10.0 * is_next(i, j), "knows_the_sign"),
        ]
    )
    shares = (0.0, 0.1, 0.5, 0.9, 1.0)
    curve, area = deletion(Reads(step=1), chain, found, "peer", Removal(shares, draws=20))
    ic = curve.pivot(index="method", columns="share", values="rank_ic")
    np.testing.assert_allclose(ic.loc["knows"], [1, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(ic.loc["knows_the_sign"], [1, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(ic.loc["is_wrong"], [1, 1, 1, 1, 0], atol=1e-12)
    assert ic.loc["random", 0.0] == pytest.approx(1) and ic.loc["random", 1.0] == 0
    assert ic.loc["random"].is_monotonic_decreasing and 0.5 < ic.loc["random", 0.5] < 0.75
    alone, _ = deletion(Reads(step=1), chain, peers(chain, targets, is_next), "peer", Removal(shares, draws=20))
    np.testing.assert_allclose(alone.loc[alone["method"] == "random", "rank_ic"], ic.loc["random"])
    area = area.set_index("method")
    expected = np.trapezoid(ic.loc["random"] - ic.loc["knows"], shares)
    assert area.loc["knows", "area"] == pytest.approx(expected) and expected > 0.3
    assert area.loc["is_wrong", "upper"] < 0 < area.loc["knows", "lower"]
    assert area[["keys", "firms", "dates"]].drop_duplicates().values.tolist() == [[FIRMS - 1, FIRMS, 8]]


def test_inserting_the_one_peer_restores_everything(chain):
    targets = sample_targets(chain, 8, FIRMS)
    found = peers(chain, targets, is_next)
    curve, area = insertion(Reads(step=1), chain, found, "peer", Removal((0.0, 0.1, 0.5, 1.0)))
    ic = curve.pivot(index="method", columns="share", values="rank_ic")
    np.testing.assert_allclose(ic.loc["given"], [0, 1, 1, 1], atol=1e-12)
    assert ic.loc["random"].is_monotonic_increasing and area["lower"].item() > 0.2


@pytest.mark.parametrize(
    "score", [lambda i, j: np.random.default_rng([i, j]).random(), lambda i, j: 1.0, lambda i, j: 0.0]
)
def test_an_explanation_that_knows_nothing_or_ties_is_as_good_as_random(chain, score):
    found = peers(chain, sample_targets(chain, 12, FIRMS), score)
    _, area = deletion(Reads(step=1), chain, found, "peer")
    assert abs(area["area"].item()) < 0.1


def test_lags_are_the_firms_own_rows(chain):
    targets = sample_targets(chain, 6, FIRMS)
    found = explanation(chain, targets, "lag", ["0", "1", "2", "3", OTHERS], lambda i, lag: (lag == 2) + 9 * (lag == 4))
    curve, _ = deletion(Reads(lag=2), chain, found, "lag", Removal((0.0, 0.25, 1.0)))
    before, after, end = curve.loc[curve["method"] == "given", "rank_ic"]
    assert abs(before) > 0.05 and after == end == 0
    kept, _ = deletion(Reads(lag=1), chain, found, "lag", Removal((0.0, 0.25, 1.0)))
    first, second, _ = kept.loc[kept["method"] == "given", "rank_ic"]
    assert first == second


def test_a_characteristic_is_taken_from_all_with_its_indicator(panel):
    blocks = Blocks(panel, np.arange(250, 300), Scaling.fit(panel, np.arange(200)), TargetConfig(1))
    name = panel.feature_names[0]
    targets = sample_targets(blocks, 4, 8)
    names = ["return", "excess_return", *panel.feature_names]
    found = explanation(blocks, targets, "feature", names, lambda i, j: names[j] == name)
    for column in (2, 2 + len(panel.feature_names)):
        curve, _ = deletion(Reads(column=column), blocks, found, "feature", Removal((0.0, 0.2, 1.0)))
        assert (curve.loc[(curve["method"] == "given") & (curve["share"] > 0), "rank_ic"] == 0).all()


def test_curves_are_the_same_twice_and_another_seed_draws_other_orders(chain):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = peers(chain, sample_targets(chain, 4, 6), is_next)
    first = deletion(Reads(step=1), chain, found, "peer").curve
    assert deletion(Reads(step=1), chain, found, "peer").curve.equals(first)
    assert not deletion(Reads(step=1), chain, found, "peer", Removal(seed=1)).curve.equals(first)
    assert torch.equal(torch.get_rng_state(), before)


def test_intervals_are_those_of_a_block_bootstrap_that_knows_of_overlapping_targets(panel):
    rows = range(210, 222)
    blocks = Blocks(panel, np.arange(200, 300), Scaling.fit(panel, np.arange(200)), TargetConfig(5))
    seen = blocks.at(np.array(rows)).observed
    targets = [
        (panel.dates[row], str(firm)) for row, here in zip(rows, seen, strict=True) for firm in panel.firms[here]
    ]
    found, model, removal = peers(blocks, targets, is_next), Reads(step=1), Removal((0.0, 1.0))
    curve, _ = deletion(model, blocks, found, "peer", removal)
    ics = []
    for row in rows:
        one = found.table[found.table["date"] == pd.Timestamp(panel.dates[row])]
        ics.append(deletion(model, blocks, Explanation(one), "peer", removal).curve["rank_ic"].iloc[0])
    expected = bootstrap_mean(ics, overlap=4)
    assert curve.iloc[0, 2:].tolist() == pytest.approx([expected.estimate, expected.lower, expected.upper])
    assert expected.lower < expected.estimate < expected.upper and expected.block == 5


def test_scores_that_differ_by_noise_alone_have_no_skill_and_no_outcome_is_unknown():
    realised = np.arange(5.0)
    scores = np.stack([realised, 1e-8 * realised, realised[::-1]])[None]
    np.testing.assert_allclose(faithfulness._skill(scores, realised), [[1, 0, -1]])
    assert np.isnan(faithfulness._skill(scores, np.where(realised < 4, np.nan, 1.0))).all()


# -- keys ------------------------------------------------------------


def networks(blocks, config):
    torch.manual_seed(0)
    width = blocks.scaling.width
    base = LookUp(width, LookUpConfig(rank=2, windows=(1, 5)))
    torch.nn.init.uniform_(base.slope)
    both = PanelTransformer(width, ("time", "firm"), config)
    return [PanelTransformer(width, ("firm", "time"), config), both, base, Corrected(both, base, 0.3)]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("row", [2, 150, 401])
@pytest.mark.parametrize("kind", gated.KINDS)
def test_stacked_variants_score_as_each_alone(panel, small_model, which, row, kind, monkeypatch):
    blocks = Blocks(panel, np.array([row]), Scaling.fit(panel, np.arange(200)), TargetConfig(1))
    model = networks(blocks, small_model)[which].eval()
    monkeypatch.setattr(gated, "NUMBERS", 5 * 12 * 8 * 3)
    target = [(panel.dates[row], str(panel.firms[np.flatnonzero(blocks.observed[0])[3]]))]
    found = gradients(model, blocks, target, "saliency")
    ((scene, (one,)),) = gated.forecasts(model, blocks, found, kind, "median")
    (plain,) = scenes(model, blocks, target)
    alone = view(model, blocks, plain)
    there = torch.from_numpy(np.random.default_rng(row).random((7, one.keys)) < 0.5)
    there[0] = True
    place = one.place[len(one.place) - len(plain.block.x) :]
    gates = [torch.cat([gate.float(), torch.ones(1)])[place] for gate in there]
    with torch.no_grad():
        expected = torch.stack([alone.scores(alone.z * gate)[0] for gate in gates])
        whole = model(plain.block)[-1, one.column]
    np.testing.assert_allclose(one.scores(there), expected, atol=2e-5)
    if which < 3:  # a base's scores are standardised once, as they are with all keys
        assert one.scores(there)[0] == pytest.approx(float(whole), abs=2e-5)


def test_the_firm_itself_and_who_is_not_seen_are_no_peers(panel):
    blocks = Blocks(panel, np.array([30]), Scaling.fit(panel, np.arange(200)), TargetConfig(1))
    firm = str(panel.firms[4])
    found = peers(blocks, [(panel.dates[30], firm)], lambda i, j: j)
    ((_, (one,)),) = gated.forecasts(Reads(warmup=2), blocks, found, "peer", "median")
    gone = [1, 4]  # firm 1 is not yet listed
    assert (one.place[:, gone] == -1).all() and one.keys == len(panel.firms) - 2
    assert one.given["given"].tolist() == [j for j in range(12) if j not in gone]


@pytest.mark.parametrize(
    "kind, listed, keys, expected",
    [
        ("lag", {"0": 1.0, "1 to 2": 4.0, OTHERS: 9.0}, ["0", "1", "2", "3"], [1, 2, 2, 0]),
        ("peer", {"A": 1.0, "me": 7.0, OTHERS: -4.0}, ["A", "B", "C"], [1, -2, -2]),
        ("peer", {"A to B": 1.0, "C": -3.0}, ["A to B", "C"], [1, -3]),
        ("feature", {"size": 2.0}, ["size", "value"], [2, 0]),
    ],
)
def test_the_score_of_a_group_is_spread_over_its_keys(kind, listed, keys, expected):
    part = pd.DataFrame({"key": list(listed), "score": list(listed.values())})
    np.testing.assert_allclose(gated.spread(part, keys, kind), expected)


def test_targets_are_spread_over_the_dates_and_have_an_outcome(panel):
    blocks = Blocks(panel, np.arange(200, 415), Scaling.fit(panel, np.arange(200)), TargetConfig(2))
    targets = sample_targets(blocks, 5, 6)
    rows = np.unique(np.searchsorted(panel.dates, [date for date, _ in targets]))
    assert rows.tolist() == [200, 254, 307, 360, 414] and len(targets) == 30 == len(set(targets))
    column = {firm: i for i, firm in enumerate(panel.firms)}
    assert all(np.isfinite(blocks.realised[np.searchsorted(blocks.dates, d), column[f]]) for d, f in targets)
    assert sample_targets(blocks, 5, 6) == targets != sample_targets(blocks, 5, 6, seed=1)


# -- infidelity ------------------------------------------------------------


class Linear(torch.nn.Module):
    """A model that is linear in all inputs of all firms on all rows."""

    warmup = 3

    def forward(self, block):
        x = block.x.masked_fill(~block.observed[..., None], 0.0)
        firms, width = x.shape[1:]
        weights = torch.sin(torch.arange(4 * firms * firms * width, dtype=torch.float32)).reshape(
            firms, 4, firms, width
        )
        scores = torch.full(block.observed.shape, torch.nan)
        for row in block.scored.tolist():
            scores[row] = torch.einsum("iwnf,wnf->i", weights, x[row - 3 : row + 1])
        return scores.masked_fill(~block.observed, torch.nan)


def test_the_gradient_of_a_linear_model_foretells_all_and_one_without_signs_does_not(panel):
    blocks = Blocks(panel, np.arange(200, 300), Scaling.fit(panel, np.arange(200)), TargetConfig(1))
    targets = sample_targets(blocks, 5, 3)
    found = join([gradients(Linear(), blocks, targets, method) for method in ("input_x_gradient", "saliency")])
    table = infidelity(Linear(), blocks, found).set_index(["method", "kind"])
    assert (table.loc["input_x_gradient", "infidelity"] < 1e-9).all()
    assert (table.loc["saliency", "infidelity"] > 0.3).all() and (table["chance"] > 0.4).all()
    assert (table["forecasts"] == 15).all() and (table["dates"] == 5).all()
    assert set(table.index.get_level_values("kind")) == set(gated.KINDS)


def test_infidelity_does_not_depend_on_the_unit_of_a_map_and_is_one_for_a_map_of_zeros(chain):
    targets = sample_targets(chain, 4, 3)
    parts = [peers(chain, targets, lambda i, j, s=s: s * (i + j), f"times {s}") for s in (1, -1000, 0)]
    table = infidelity(Reads(step=1), chain, join(parts)).set_index("method")["infidelity"]
    assert table["times 1"] == pytest.approx(table["times -1000"]) and 0 < table["times 1"] < table["times 0"] == 1


def test_infidelity_is_captums_in_units_of_what_the_score_loses():
    random = np.random.default_rng(0)
    given, taken = random.standard_normal(6), random.random((40, 6)) < 0.3
    lost = np.sin(taken @ np.arange(6.0))
    found = captum_infidelity(
        lambda u: torch.from_numpy(np.zeros(1) if len(u) == 1 else -lost),
        lambda u: (torch.from_numpy(taken * 1.0), u - torch.from_numpy(taken * 1.0)),
        torch.ones(1, 6, dtype=torch.float64), torch.from_numpy(given)[None], n_perturb_samples=40, normalize=True,
    )  # fmt: skip
    ours, _ = faithfulness._infidelities(given, taken, lost, random)
    assert ours == pytest.approx(float(found) / (lost**2).mean()) and 0.1 < ours < 1


def test_a_model_that_reads_nothing_of_a_kind_has_no_infidelity(chain):
    found = peers(chain, sample_targets(chain, 4, 3), is_next)
    table = infidelity(Reads(step=0), chain, found)
    assert table["infidelity"].isna().all() and table[["forecasts", "dates"]].values.tolist() == [[0, 0]]


# -- what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"shares": (0.0, 0.5)}, "shares must be increasing from 0 to 1"),
        ({"shares": (0.0, 0.5, 0.5, 1.0)}, "shares must be increasing from 0 to 1"),
        ({"shares": (1.0,)}, "shares must be increasing from 0 to 1"),
        ({"draws": 0}, "draws must be at least 1, found 0"),
        ({"draws": "3"}, "draws must be a whole number, found '3'"),
        ({"seed": -1}, "seed must be at least 0, found -1"),
    ],
)
def test_a_removal_out_of_range_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Removal(**settings)


def test_what_cannot_be_taken_away_is_refused(chain):
    targets = sample_targets(chain, 2, 2)
    found, model = peers(chain, targets, is_next), Reads()
    refused = [
        (lambda: deletion(model, chain, found, "lag"), "kind must be one of the explanation's peer, found 'lag'"),
        (lambda: insertion(model, chain, found, "firm"), "kind must be one of the explanation's peer, found 'firm'"),
        (lambda: deletion(model, chain, found, "peer", Removal(baseline="zero")), "baseline must be median, absent or"),
        (lambda: infidelity(model, chain, found, samples=1), "samples must be at least 2, found 1"),
        (lambda: infidelity(model, chain, found, probability=1.0), "probability must be between 0 and 1, found 1.0"),
        (lambda: infidelity(model, chain, found, seed=-1), "seed must be at least 0, found -1"),
        (lambda: sample_targets(chain, 0, 2), "dates must be at least 1, found 0"),
        (lambda: sample_targets(chain, 2, 2, seed=-1), "seed must be at least 0, found -1"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()
    reference = Explanation(found.table.assign(kind="reference"))
    with pytest.raises(InputError, match="must have a kind of lag, peer, feature, found none"):
        infidelity(model, chain, reference)
    both = join([found, peers(chain, targets[:1], is_next, "other")])
    with pytest.raises(InputError, match=r"must explain the same forecasts, found none of \('F\d\d', 'other'\)"):
        deletion(model, chain, both, "peer")
    two = Explanation(pd.concat([found.table, found.table.assign(model="n")], ignore_index=True))
    with pytest.raises(InputError, match="must be of one model, found m, n"):
        deletion(model, chain, two, "peer")
