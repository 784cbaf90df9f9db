import json
import random

import numpy as np
import pandas as pd
import pytest
import torch

from finattn import training
from finattn.blocks import Blocks, Scaling, without_factors
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import simulate
from finattn.errors import InputError
from finattn.metrics import rank_information_coefficient
from finattn.models import PanelTransformer
from finattn.panel import Panel
from finattn.training import AttentionForecaster, AttentionHistory, PanelModule

TRAIN, VALID, TEST = np.arange(30, 250), np.arange(252, 300), np.arange(302, 410)
AXES = ("time", "firm")


def cut(panel, horizon=2):
    scaling = Scaling.fit(panel, TRAIN)
    return [Blocks(panel, rows, scaling, TargetConfig(horizon)) for rows in (TRAIN, VALID, TEST)]


@pytest.fixture(scope="module")
def cuts(panel):
    return cut(panel)


def fit(cuts, small_model, seed=0, axes=AXES, **config):
    defaults = {"epochs": 2, "minimum_epochs": 1, "block": 60}
    return AttentionForecaster(axes, small_model, TrainingConfig(**defaults | config), seed).fit(*cuts[:2])


def states_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


# -- chance ------------------------------------------------------------


def test_two_fits_with_one_seed_are_equal_to_the_last_bit(cuts, small_model):
    one, again = fit(cuts, small_model), fit(cuts, small_model)
    assert states_equal(one.model.state_dict(), again.model.state_dict())
    np.testing.assert_array_equal(one.predict(cuts[2]), again.predict(cuts[2]))
    assert one.chosen == again.chosen


def test_another_seed_gives_another_fit(cuts, small_model):
    one, other = (fit(cuts, small_model, seed).predict(cuts[2]) for seed in (0, 1))
    assert not np.allclose(one, other, equal_nan=True)


def test_a_fit_neither_reads_nor_moves_the_generators_of_others(cuts, small_model):
    torch.manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    one = fit(cuts, small_model).predict(cuts[2])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]
    torch.manual_seed(4)
    np.testing.assert_array_equal(fit(cuts, small_model).predict(cuts[2]), one)


# -- the loss ------------------------------------------------------------


def test_the_loss_is_squared_error_on_returns_standardised_by_date(cuts, small_model):
    torch.manual_seed(0)
    train = cuts[0]
    model = PanelTransformer(train.scaling.width, AXES, small_model).eval()
    block = next(train.cut(model.warmup, 60))
    found = PanelModule(model, TrainingConfig()).training_step((block, torch.zeros(block.observed.shape)), 0).item()
    target, scores = train.at(TRAIN[:60]).realised, model(block)[block.scored].detach().numpy()
    centred = target - np.nanmean(target, axis=1, keepdims=True)
    error = scores - centred / np.nanstd(centred, axis=1, keepdims=True)
    assert found == pytest.approx(np.nanmean(error**2), rel=1e-5)


def test_targets_are_cut_and_standardised_again(cuts, small_model):
    torch.manual_seed(0)
    model = PanelTransformer(cuts[0].scaling.width, AXES, small_model).eval()
    block = next(cuts[0].cut(model.warmup, 60))
    module = PanelModule(model, TrainingConfig(cut=1.2))
    found = module.training_step((block, torch.zeros(block.observed.shape)), 0).item()
    target, scores = cuts[0].at(TRAIN[:60]).realised, model(block)[block.scored].detach().numpy()
    for cut_at in (1.2, np.inf):
        target = target - np.nanmean(target, axis=1, keepdims=True)
        target = np.clip(target / np.nanstd(target, axis=1, keepdims=True), -cut_at, cut_at)
    assert found == pytest.approx(np.nanmean((scores - target) ** 2), rel=1e-5)


def test_targets_without_factors_are_learnt_and_validation_keeps_returns_as_they_are(monkeypatch, small_model):
    panel, seen = simulate(48, 420, seed=2).panel, []
    blocks = cut(panel, 1)
    real = PanelModule.training_step
    monkeypatch.setattr(PanelModule, "training_step", lambda *given: seen.append(given[1][0]) or real(*given))
    fitted = fit(blocks, small_model, axes=("firm",), epochs=1, block=len(TRAIN), without_factors=True)
    expected = np.nan_to_num(without_factors(blocks[0])).astype(np.float32)
    np.testing.assert_array_equal(seen[0].target[seen[0].scored], expected)
    known = ~np.isnan(without_factors(blocks[0]))
    np.testing.assert_array_equal(seen[0].target_observed[seen[0].scored], known)
    assert (known.sum(axis=0) == 0).any() or (known != ~np.isnan(blocks[0].realised)).sum() == 0
    skill = np.nanmean(rank_information_coefficient(fitted.predict(blocks[1]), blocks[1].realised))
    assert fitted.chosen["history"] == [pytest.approx(skill, abs=1e-6)]


def test_a_cosine_rate_falls_to_zero_along_half_a_cosine_and_a_constant_one_stays(cuts, small_model, monkeypatch):
    rates = []
    monkeypatch.setattr(
        PanelModule, "on_before_optimizer_step", lambda module, optimizer: rates.append(optimizer.param_groups[0]["lr"])
    )
    for schedule in ("cosine", "constant"):
        fit(cuts, small_model, axes=("firm",), epochs=3, block=40, learning_rate=0.01, schedule=schedule)
    steps = len(rates) // 2
    expected = 0.01 * (1 + np.cos(np.pi * np.arange(steps) / steps)) / 2
    np.testing.assert_allclose(rates, [*expected, *[0.01] * steps], rtol=1e-12)
    assert steps >= 6


def test_of_several_starts_the_best_by_validation_is_kept_and_the_first_is_that_of_one_start(
    cuts, small_model, monkeypatch
):
    alone = fit(cuts, small_model, epochs=1)
    several = fit(cuts, small_model, epochs=1, starts=3)
    starts = several.chosen["starts"]
    assert len(set(starts)) == 3 and starts[0] == alone.chosen["valid_rank_ic"]
    assert several.chosen["valid_rank_ic"] == max(starts)
    expected = np.nanmean(rank_information_coefficient(several.predict(cuts[1]), cuts[1].realised))
    assert max(starts) == pytest.approx(expected, abs=1e-6)
    scripted(monkeypatch, [0.9, 0.1, 0.2])
    assert states_equal(fit(cuts, small_model, epochs=1, starts=3).model.state_dict(), alone.model.state_dict())


def test_a_history_of_several_starts_is_refused(cuts, small_model, tmp_path):
    history = AttentionHistory(next(cuts[1].cut(0, 2)), tmp_path / "history.parquet")
    forecaster = AttentionForecaster(("firm",), small_model, TrainingConfig(starts=2), history=history)
    with pytest.raises(InputError, match="a history keeps one fit, and needs training.starts 1, found 2"):
        forecaster.fit(*cuts[:2])


def test_progress_counts_epochs_over_all_starts(cuts, small_model, monkeypatch):
    scripted(monkeypatch, [0.3, 0.2, 0.1, 0.2, 0.3, 0.4])
    seen, config = [], TrainingConfig(epochs=4, minimum_epochs=1, patience=1, smoothing=1, block=60, starts=2)
    AttentionForecaster(("firm",), small_model, config, progress=lambda *step: seen.append(step)).fit(*cuts[:2])
    assert seen == [(1, 8, 0.3), (2, 8, 0.2), (5, 8, 0.1), (6, 8, 0.2), (7, 8, 0.3), (8, 8, 0.4)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "falling"}, "training.schedule must be one of constant, cosine, found 'falling'"),
        ({"starts": 0}, "training.starts must be at least 1, found 0"),
        ({"cut": 0.0}, "training.cut must be finite and above 0, or left out, found 0.0"),
    ],
)
def test_training_settings_that_make_no_fit_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**given)


def test_the_validation_rank_ic_is_that_of_the_predictions(cuts, small_model):
    forecaster = fit(cuts, small_model, epochs=1)
    expected = np.nanmean(rank_information_coefficient(forecaster.predict(cuts[1]), cuts[1].realised))
    assert forecaster.chosen["history"] == [pytest.approx(expected, abs=1e-6)]


def without_returns(panel, rows):
    returns = panel.returns.copy()
    returns[rows] = np.nan
    return panel.replace(returns=returns)


def test_a_training_block_without_targets_is_left_out(panel, small_model):
    cuts = cut(without_returns(panel, np.arange(89, 152)))
    assert np.isfinite(fit(cuts, small_model).predict(cuts[2])).any()


class Recorder:
    """Stands in for Lightning's trainer, and keeps the batches that it is given."""

    def fit(self, module, data):
        self.train, self.valid = data.train, data.valid


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("block", [10, 60])
def test_a_training_block_holds_so_many_scored_dates_however_far_apart(cuts, small_model, monkeypatch, every, block):
    recorder = Recorder()
    monkeypatch.setattr(AttentionForecaster, "_trainer", lambda self: recorder)
    train = cuts[0].at(TRAIN[(len(TRAIN) - 1) % every :: every])
    fit([train, cuts[1]], small_model, block=block)
    counts = [len(batch.scored) for batch, _ in recorder.train]
    assert set(counts[:-1]) <= {block} and counts[-1] <= block and sum(counts) == len(train.positions)
    dates = np.concatenate([batch.date[batch.scored].numpy() for batch, _ in recorder.train])
    np.testing.assert_array_equal(dates, train.dates.astype(int))
    assert all(batch.warmup == 4 for batch, _ in recorder.train)  # context is rows, trained on or not
    assert max(len(batch.scored) for batch, _ in recorder.valid) <= block


def test_forecasts_do_not_depend_on_how_far_apart_they_are_asked_for(cuts, small_model):
    fitted = fit([cuts[0].at(TRAIN[::5]), cuts[1]], small_model, block=10)
    some = cuts[2].at(TEST[::7])
    np.testing.assert_allclose(fitted.predict(some), fitted.predict(cuts[2])[::7], atol=1e-6)


def test_no_targets_at_all_are_refused(panel, cuts, small_model):
    empty = Blocks(without_returns(panel, np.arange(31, 260, 2)), TRAIN, cuts[0].scaling, cuts[0].target)
    with pytest.raises(InputError, match="a model must have observed targets to fit on, found none"):
        fit([empty, cuts[1]], small_model)


# -- early stopping ------------------------------------------------------------


def scripted(monkeypatch, skill):
    """Have the epochs' validation rank ICs be these, and record the parameters after each."""
    values, states = iter(skill), []
    monkeypatch.setattr(training, "rank_information_coefficient", lambda scores, realised: np.array([next(values)]))
    ended = PanelModule.on_validation_epoch_end

    def record(module):
        states.append({name: value.clone() for name, value in module.model.state_dict().items()})
        ended(module)

    monkeypatch.setattr(PanelModule, "on_validation_epoch_end", record)
    return states


@pytest.mark.parametrize(
    ("skill", "smoothing", "minimum", "best"),
    [
        ([0.1, 0.2, 0.9, 0.1, 0.3, 0.2], 1, 1, 2),
        ([0.9, 0.1, 0.2, 0.4, 0.3, 0.2], 1, 2, 3),  # the first epoch is too early to be kept
        ([0.1, 0.9, 0.0, 0.4, 0.8, 0.7], 2, 2, 5),  # one epoch's peak is noise; 0.8 and 0.7 are the best two
        ([0.1, 0.2, 0.2, 0.2, 0.1, 0.1], 1, 1, 1),  # of equals the first
    ],
)
def test_the_parameters_of_the_best_smoothed_epoch_are_kept(
    cuts, small_model, monkeypatch, skill, smoothing, minimum, best
):
    states = scripted(monkeypatch, skill)
    forecaster = fit(cuts, small_model, epochs=6, minimum_epochs=minimum, patience=6, smoothing=smoothing)
    assert len(states) == 6 and states_equal(forecaster.model.state_dict(), states[best])
    smoothed = np.mean(skill[max(best - smoothing + 1, 0) : best + 1])
    assert forecaster.chosen["valid_rank_ic"] == pytest.approx(smoothed)
    assert forecaster.chosen["epochs"] == 6 and forecaster.chosen["history"] == pytest.approx(skill)


@pytest.mark.parametrize(("minimum", "patience", "epochs"), [(1, 1, 2), (1, 3, 4), (5, 1, 6), (8, 1, 8)])
def test_training_stops_after_patience_but_not_before_the_minimum(
    cuts, small_model, monkeypatch, minimum, patience, epochs
):
    states = scripted(monkeypatch, np.linspace(0.5, -0.5, 20))
    fit(cuts, small_model, axes=("firm",), epochs=8, minimum_epochs=minimum, patience=patience, smoothing=1)
    assert len(states) == epochs


def test_fewer_epochs_than_the_minimum_are_refused():
    with pytest.raises(InputError, match="minimum_epochs must be at most training.epochs = 1, found 9"):
        TrainingConfig(epochs=1, minimum_epochs=9)


def test_progress_is_told_of_each_epoch_and_what_was_chosen_fits_json(cuts, small_model):
    seen = []
    config = TrainingConfig(epochs=3, minimum_epochs=3, block=60)
    forecaster = AttentionForecaster(
        ("firm",), small_model, config, progress=lambda *step: seen.append(step)
    ).fit(*cuts[:2])  # fmt: skip
    history = forecaster.chosen["history"]
    assert seen == [(epoch + 1, 3, history[epoch]) for epoch in range(3)]
    assert json.loads(json.dumps(forecaster.chosen, allow_nan=False)) == forecaster.chosen


# -- files ------------------------------------------------------------


def test_saved_parameters_give_equal_forecasts(cuts, small_model, tmp_path):
    fitted = fit(cuts, small_model)
    fitted.save(tmp_path)
    loaded = AttentionForecaster(AXES, small_model, fitted.training).load(tmp_path, cuts[0].scaling.width)
    np.testing.assert_array_equal(loaded.predict(cuts[2]), fitted.predict(cuts[2]))
    assert not loaded.model.training


def test_parameters_that_are_not_this_models_are_refused(cuts, small_model, tmp_path):
    fitted, inputs = fit(cuts, small_model, epochs=1), cuts[0].scaling.width
    message = f"{tmp_path}: must hold parameters of this model"
    with pytest.raises(InputError, match=message):
        AttentionForecaster(AXES, small_model).load(tmp_path, inputs)  # no file
    fitted.save(tmp_path)
    for axes, width in ((("time",), inputs), (AXES, inputs + 1)):
        with pytest.raises(InputError, match=message):
            AttentionForecaster(axes, small_model).load(tmp_path, width)
    file = tmp_path / "model.safetensors"
    for content in (b"", b"rubbish", file.read_bytes()[:-10]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            AttentionForecaster(AXES, small_model).load(tmp_path, inputs)


# -- learning ------------------------------------------------------------


def simulated(returns, inputs=None):
    dates = np.busday_offset("2001-01-01", np.arange(len(returns)), roll="forward")
    names = () if inputs is None else ("group",)
    return Panel(dates, [f"F{i:02d}" for i in range(returns.shape[1])], returns, features=inputs, feature_names=names)


def skill(panel, axes, **config):
    train, valid, test = cut(panel, horizon=1)
    model = ModelConfig(width=16, heads=2, feed_forward=32, lookback=5, dropout=0.0)
    fitted = fit((train, valid), model, axes=axes, learning_rate=1e-2, patience=20, **config)
    return [np.nanmean(rank_information_coefficient(fitted.predict(part), part.realised)) for part in (valid, test)]


def test_a_signal_at_a_lag_is_learned_along_time():
    generator = np.random.default_rng(0)
    shocks, returns = 0.02 * generator.standard_normal((2, 420, 12))
    for row in range(4, 420):
        returns[row] = 0.9 * returns[row - 4] + np.sqrt(1 - 0.9**2) * shocks[row]  # the return four rows before
    assert min(skill(simulated(returns), ("time",), epochs=20)) > 0.5


def test_a_signal_among_peers_is_learned_along_firms_and_along_them_alone():
    generator = np.random.default_rng(1)
    group = generator.permuted(np.tile(np.repeat([-1.0, 1.0], 8), (420, 1)), axis=1)  # drawn anew every day
    returns = 0.02 * generator.standard_normal((420, 16))
    for row in range(1, 420):  # a firm goes where its group of the day before went
        lead = (group[row - 1] * returns[row - 1]).mean()
        returns[row] += 0.03 * group[row - 1] * np.tanh(200 * lead)
    panel = simulated(returns, group[:, :, None])
    along_firms, along_time = (skill(panel, axes, epochs=25) for axes in (("firm",), ("time",)))
    assert min(along_firms) > 0.4 and max(along_time) < min(along_firms) - 0.15


# -- how patterns form ------------------------------------------------------------


def fitted_with_history(cuts, small_model, path, epochs, history=True):
    train, valid, *_ = cuts
    (block,) = valid.at(valid.positions[:3]).cut(4, 10)
    history = AttentionHistory(block, path, epochs) if history else None
    config = TrainingConfig(epochs=3, minimum_epochs=3, block=60)
    return block, AttentionForecaster(AXES, small_model, config, seed=0, history=history).fit(train, valid)


def test_the_history_keeps_the_maps_of_chosen_epochs(cuts, small_model, tmp_path):
    block, _ = fitted_with_history(cuts, small_model, tmp_path / "maps.parquet", (0, 2, 3))
    table = pd.read_parquet(tmp_path / "maps.parquet")
    assert list(table.columns) == ["epoch", "layer", "axis", "date", "firm", "head", "key", "weight"]
    assert table["epoch"].unique().tolist() == [0, 2, 3] and set(table["axis"]) == set(AXES)
    assert set(table["date"]) == set(block.date[block.scored].tolist())
    sums = table.groupby(["epoch", "layer", "date", "firm", "head"])["weight"].sum().round(5)
    assert set(sums) <= {0.0, 1.0} and (sums == 1).any()
    at = table.set_index(["epoch", "layer", "date", "firm", "head", "key"])["weight"].unstack("epoch")
    assert (at[0] - at[3]).abs().max() > 1e-4


def test_the_history_before_training_is_that_of_the_untrained_model(cuts, small_model, tmp_path):
    block, _ = fitted_with_history(cuts, small_model, tmp_path / "maps.parquet", (0,))
    torch.manual_seed(0)
    model = PanelTransformer(cuts[0].scaling.width, AXES, small_model).eval()
    table = pd.read_parquet(tmp_path / "maps.parquet")
    for layer, order in enumerate([["date", "firm", "head", "key"], ["date", "head", "firm", "key"]]):
        kept = table[table["layer"] == layer].sort_values(order)["weight"]
        np.testing.assert_array_equal(kept, model.attention(block, layer).numpy().ravel())


def test_a_history_changes_no_fit(cuts, small_model, tmp_path):
    _, watched = fitted_with_history(cuts, small_model, tmp_path / "maps.parquet", None)
    _, alone = fitted_with_history(cuts, small_model, tmp_path / "maps.parquet", None, history=False)
    assert states_equal(watched.model.state_dict(), alone.model.state_dict())
