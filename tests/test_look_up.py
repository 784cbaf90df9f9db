"""The learned one-way look-up, and models that start from a base."""

import numpy as np
import pytest
import torch

from finattn.attention import attention_weights
from finattn.baselines import Ridge
from finattn.blocks import Blocks, Scaling
from finattn.config import TargetConfig, TrainingConfig
from finattn.data import Design, simulate
from finattn.errors import InputError
from finattn.look_up import LookUp, LookUpConfig
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.training import AttentionForecaster, LookUpForecaster

TRAIN, VALID, TEST = np.arange(30, 250), np.arange(252, 300), np.arange(302, 410)


def cut(panel, rows=(TRAIN, VALID, TEST), horizon=2):
    scaling = Scaling.fit(panel, rows[0])
    return [Blocks(panel, some, scaling, TargetConfig(horizon)) for some in rows]


def rank_ic(scores, blocks):
    return mean_over_dates(rank_information_coefficient(scores, blocks.realised))


@pytest.fixture(scope="module")
def block(panel):
    return next(cut(panel)[2].cut(20, 50))


# -- the model ------------------------------------------------------------


def test_the_score_is_the_formula_written_out(block):
    torch.manual_seed(0)
    model = LookUp(block.x.shape[2], LookUpConfig(rank=3, windows=(1, 5), slope=0.7, heads=2))
    torch.nn.init.uniform_(model.slope)
    scores, row = model(block), int(block.scored[7])
    z, here = block.x[row, :, 2:], block.observed[row]
    excess = torch.where(block.observed, block.x[..., 1], 0.0)
    windows = torch.stack([excess[row], excess[row - 4 : row + 1].sum(0) / 5**0.5], 1)
    values = torch.where(here[:, None], windows, 0.0)
    others = torch.stack([values[here & (torch.arange(len(here)) != n)].mean(0) for n in range(len(here))])
    expected = torch.zeros(len(here))
    for head, own in enumerate((slice(0, 3), slice(3, 6))):
        logits = (model.query(z)[:, own] @ model.key(z)[:, own].T / 3**0.5).masked_fill(~here, -torch.inf)
        weights = logits.masked_fill(torch.eye(len(here), dtype=bool), -torch.inf).softmax(1)
        expected += (weights @ values - others) @ model.slope[head]
        torch.testing.assert_close(model.attention(block, dates=[row])[0, head][here], weights[here])
    torch.testing.assert_close(scores[row], torch.where(here, expected, torch.nan), equal_nan=True)


def test_attention_rows_sum_to_one_never_to_the_firm_itself_and_to_zero_for_who_is_absent(block):
    model = LookUp(block.x.shape[2])
    here = block.observed[block.scored]
    for weights in model.attention(block).unbind(1):
        torch.testing.assert_close(weights.sum(2), here.float())
        assert not weights.diagonal(dim1=1, dim2=2).any() and not weights.transpose(1, 2)[~here].any()


def test_a_firm_alone_has_the_score_zero(block):
    alone = block._replace(observed=block.observed & (torch.arange(block.x.shape[1]) == 0))
    scores = LookUp(block.x.shape[2])(alone)[block.scored]
    known = scores[~scores.isnan()]
    assert len(known) and (known == 0).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LookUp(2), "needs characteristics to tell firms by, found a panel without features"),
        (lambda: LookUpConfig(rank=0), "rank must be at least 1, found 0"),
        (lambda: LookUpConfig(heads=0), "heads must be at least 1, found 0"),
        (lambda: LookUpConfig(windows=()), r"windows must be at least one number of rows from 1, found \(\)"),
        (lambda: LookUpConfig(windows=(0, 5)), "windows must be at least one number of rows from 1"),
    ],
)
def test_what_is_no_look_up_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# -- what it finds ------------------------------------------------------------


@pytest.fixture(scope="module")
def planted():
    """Peers of 80 firms that move and mostly cross industries, and nothing else to find."""
    panel, truth = simulate(80, 900, r2=0.08, seed=1, design=Design(shares={"peers": 1.0}))
    return cut(panel, (np.arange(600), np.arange(602, 750), np.arange(752, 898)), horizon=1), truth


def test_it_finds_planted_directed_peers_and_most_of_what_can_be_known(planted):
    cuts, truth = planted
    found = LookUpForecaster(training=TrainingConfig(block=10, epochs=8, minimum_epochs=4, learning_rate=1e-2))
    found.fit(*cuts[:2])
    oracle = np.where(cuts[2].observed, truth.oracle[cuts[2].positions], np.nan)
    assert rank_ic(found.predict(cuts[2]), cuts[2]) > 0.7 * rank_ic(oracle, cuts[2]) > 0.1
    # The heaviest peers are the planted ones, in the planted direction.
    block = next(cuts[2].cut(found.model.warmup, 200))
    head = found.model.slope.abs().sum(1).argmax()
    weights, rows = found.model.attention(block)[::20, head], cuts[2].positions[::20]
    top = weights.topk(5, dim=2).indices.numpy()
    hits = [np.isin(top[t, n], truth.peers[row, n]).mean() for t, row in enumerate(rows) for n in range(80)]
    reverse = [np.mean([n in truth.peers[row, m] for m in top[t, n]]) for t, row in enumerate(rows) for n in range(80)]
    assert np.mean(hits) > 0.5 > 5 * np.mean(reverse)


def test_rank_and_start_are_what_the_configuration_says():
    model = LookUp(8, LookUpConfig(rank=2, windows=(1, 3, 9), slope=-0.5, heads=3))
    assert model.query.weight.shape == (6, 6) and model.slope.tolist() == [[-0.5] * 3] * 3 and model.warmup == 8


def test_a_look_up_without_preferences_says_nothing_not_even_of_the_firms_own_return(block):
    model = LookUp(block.x.shape[2])
    torch.nn.init.zeros_(model.key.weight)
    scores = model(block)[block.scored]
    assert scores.nan_to_num().abs().max() < 1e-6


def test_fused_attention_is_the_written_out_one(block):
    model = LookUp(block.x.shape[2])
    query, key, mask = model._looking(block, block.scored)
    even = mask / mask.sum(2, keepdim=True).clamp(min=1)
    values = model._values(block)[block.scored][:, None]
    expected = ((attention_weights(query, key, mask) - even) @ values * model.slope[:, None]).sum((1, 3))
    here = block.observed[block.scored]
    torch.testing.assert_close(model(block)[block.scored][here], expected[here])


# -- a base ------------------------------------------------------------


class Known:
    """A forecaster that is given its scores; it counts how often it is fitted."""

    units = "score"

    def __init__(self, scores):
        self.scores, self.fits = scores, 0

    def fit(self, train, valid):
        self.fits += 1
        return self

    def predict(self, blocks):
        return np.where(blocks.observed, self.scores[blocks.positions], np.nan)


def corrected(cuts, base, small_model, **config):
    settings = {"epochs": 3, "minimum_epochs": 1, "block": 60} | config
    return AttentionForecaster(("firm",), small_model, TrainingConfig(**settings), base=base).fit(*cuts[:2])


def test_a_correction_that_learns_nothing_leaves_the_bases_order(panel, small_model):
    cuts = cut(panel)
    found = corrected(cuts, Ridge(), small_model, learning_rate=1e-12)
    base = Ridge().fit(*cuts[:2])
    ours, theirs = found.predict(cuts[2]), base.predict(cuts[2])
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert rank_ic(ours, cuts[2]) == pytest.approx(rank_ic(theirs, cuts[2]), abs=1e-3)
    valid = rank_ic(base.predict(cuts[1]), cuts[1])
    assert found.chosen["base_rank_ic"] == pytest.approx(valid) and found.chosen["base"]["valid_rank_ic"] > -1


def test_a_base_that_knows_the_outcome_is_kept_at_epoch_zero(panel, small_model):
    cuts = cut(panel)
    realised = np.full(panel.shape, np.nan)
    for blocks in cuts:
        realised[blocks.positions] = blocks.realised
    base = Known(np.nan_to_num(realised))
    found = corrected(cuts, base, small_model)
    assert base.fits == 1 and found.chosen["epoch"] == 0 and found.base_weight > 0.9
    assert found.chosen["valid_rank_ic"] == found.chosen["base_rank_ic"] > 0.9
    scores = found.predict(cuts[2])
    assert rank_ic(scores, cuts[2]) > 0.9
    per_date = scores[~np.isnan(scores).all(axis=1)]
    np.testing.assert_allclose(np.nanmean(per_date, axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(per_date, axis=1), found.base_weight, rtol=1e-4)


def test_a_base_that_knows_nothing_weighs_little_and_can_be_left(planted, small_model):
    cuts, _ = planted
    base = Known(np.random.default_rng(0).standard_normal((900, 80)))
    found = corrected(cuts, base, small_model)
    assert 1e-3 <= found.base_weight < 0.05


def test_a_look_up_can_be_the_base_of_attention(panel, small_model):
    cuts = cut(panel)
    quick = TrainingConfig(epochs=2, minimum_epochs=1, block=60)
    found = corrected(cuts, LookUpForecaster(training=quick), small_model)
    assert np.isfinite(found.predict(cuts[2])[cuts[2].observed]).all() and "epoch" in found.chosen["base"]
