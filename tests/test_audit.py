"""How far explanations of a model can be trusted: the audit, its verdict, its files and its section of the report."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from finattn.blocks import Blocks, Scaling
from finattn.cli import main
from finattn.cli.audits import _parser
from finattn.config import ModelConfig, TargetConfig
from finattn.data import sample
from finattn.errors import InputError
from finattn.explain import Audit, Checks, How, audit, explainers
from finattn.explain.audit import skill, with_skill
from finattn.explain.verdict import judge
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer
from finattn.panel import Panel
from finattn.report import audited

QUICK = Checks(methods=("attention", "saliency", "input_x_gradient"), dates=30, firms=12, shaken=3, draws=1)


FIRMS = 16


def planted():
    """Return a panel in which a firm follows one peer, the next, by a day; a feature tells which firm one is."""
    random, days = np.random.default_rng(0), 260
    returns = random.normal(0, 0.01, (days, FIRMS))
    for day in range(1, days):
        returns[day] += 0.7 * np.roll(returns[day - 1], -1)
    panel = Panel(
        dates=pd.bdate_range("2020-01-01", periods=days).to_numpy(),
        firms=np.array([f"F{place:02d}" for place in range(FIRMS)]),
        returns=returns,
        features=np.broadcast_to(np.eye(FIRMS), (days, FIRMS, FIRMS)),
        feature_names=tuple(f"is_{place}" for place in range(FIRMS)),
    )
    return panel, Blocks(panel, np.arange(100, 250), Scaling.fit(panel, np.arange(1, 90)), TargetConfig())


def look_up(steps, sharpness=9.0):
    """Return a look-up whose firms ask the one so many steps ahead."""
    model = LookUp(2 + 2 * FIRMS, LookUpConfig(rank=FIRMS, heads=1, windows=(1,))).eval()
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    state["query.weight"][:, :FIRMS] = sharpness * torch.eye(FIRMS).roll(steps, 0)
    state["key.weight"][:, :FIRMS] = torch.eye(FIRMS)
    model.load_state_dict(state | {"slope": torch.ones_like(state["slope"])})
    return model


@pytest.fixture(scope="module")
def skilled():
    _, blocks = planted()
    fits = [look_up(1), look_up(1, 11.0)]
    return audit(fits, blocks, blocks.at(np.arange(1, 90)), fits[:1], QUICK, "look_up")


SANE = ("attention", "value_norm", "rollout", "saliency", "input_x_gradient", "integrated_gradients", "smoothgrad",
        "gradient_shap", "feature_ablation", "shapley")  # fmt: skip


@pytest.mark.parametrize("method", SANE)
def test_one_planted_peer_is_found_by_every_sane_method(method):
    panel, blocks = planted()
    targets = [(panel.dates[120], "F03"), (panel.dates[180], "F15")]
    explain = explainers([method], How(samples=10))[method]
    found = explain(look_up(1), blocks, targets).table
    others = found[(found["kind"] == "peer") & (found["firm"] != found["key"])]
    heaviest = others.loc[others["score"].abs().groupby(others["firm"]).idxmax()]
    assert heaviest.set_index("firm")["key"].to_dict() == {"F03": "F04", "F15": "F00"}


def test_a_model_with_skill_is_believed_where_what_its_maps_call_heavy_matters(skilled):
    assert skilled.verdict.trusted, str(skilled)
    assert "input_x_gradient (peer)" in skilled.verdict.believed
    assert skilled.verdict.sentences[0].startswith("The model has skill: rank IC 0.")


def test_every_check_is_in_the_one_table_with_an_interval_over_dates(skilled):
    checks = ["skill", "agreement", "replaced", "apart", "adversary", "frozen", "deletion", "insertion", "infidelity",
              "randomisation", "sensitivity", "seeds", "days"]  # fmt: skip
    assert list(dict.fromkeys(skilled.table["check"])) == checks
    varied = skilled.table[skilled.table["check"].isin(["skill", "agreement", "deletion", "infidelity"])]
    constant = varied["lower"].isna()  # the same on all dates
    assert not constant.all() and (varied[constant]["value"].round(9) == 0).all()
    varied = varied[~constant]
    assert (varied["lower"] <= varied["value"]).all() and (varied["value"] <= varied["upper"]).all()


def test_attention_that_a_frozen_twin_does_without_is_not_believed(skilled):
    # the "twin" is one of the fits themselves: no difference is shown
    assert skilled.verdict.doubted["attention (peer)"] == "that attention is needed was not shown"


def test_a_model_without_skill_is_not_believed_whatever_its_maps():
    panel, blocks = planted()
    found = audit(look_up(8), blocks, checks=Checks(("attention", "saliency"), 8, 8, 2, draws=1))
    assert not found.verdict.trusted and not found.verdict.believed
    assert found.verdict.headline.endswith("its forecasts are no better than chance.")
    assert set(found.verdict.doubted.values()) == {"the model has no skill"}


def test_what_is_audited_is_left_as_it_is():
    panel, blocks = planted()
    model = look_up(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    audit(model, blocks, blocks.at(np.arange(40, 100)), checks=Checks(("attention",), 4, 4, 2, draws=1))
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("several, methods, last", [(True, ("attention", "saliency"), 13), (False, ("saliency",), 7)])
def test_each_check_is_told_with_how_many_are_done_and_how_many_there_are(several, methods, last):
    _, blocks = planted()
    told, fits = [], [look_up(1), look_up(1, 11.0)][: 1 + several]
    more = (blocks.at(np.arange(1, 90)), fits[:1]) if several else ()
    found = audit(fits, blocks, *more, checks=Checks(methods, 4, 4, 2, draws=1), on_check=lambda *one: told.append(one))
    assert [one[1:] for one in told] == [(place, last) for place in range(1, last + 1)]
    assert [one[0] for one in told] == list(dict.fromkeys(found.table["check"]))


def test_the_same_audit_twice_is_equal():
    panel, blocks = planted()
    few = Checks(("attention", "saliency"), 4, 4, 2, draws=1)
    first, second = (audit(look_up(8), blocks, checks=few) for _ in range(2))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.verdict == second.verdict


def test_a_model_without_attention_is_audited_by_the_other_methods():
    panel = sample()["2019":"2020"]
    blocks = Blocks(panel, np.arange(300, 400, 10), Scaling.fit(panel, np.arange(200)), TargetConfig())
    model = PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    found = audit(model, blocks, checks=Checks(("saliency",), 4, 4, 2, draws=1))
    assert "agreement" not in found.details and set(found.table["method"]) >= {"saliency"}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"methods": ("guess",)}, "methods must be different ones of attention, .*found"),
        ({"methods": ("saliency", "saliency")}, "methods must be different ones"),
        ({"methods": ()}, "methods must be different ones"),
        ({"dates": 0}, "dates must be at least 1, found 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_checks_out_of_their_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Checks(**settings)


def test_no_models_are_refused():
    panel, blocks = planted()
    with pytest.raises(InputError, match="models must be at least one, found none"):
        audit([], blocks)


# -- the rules of the verdict -----------------------------------------------------------------------------------------


def details(p=0.01, forgotten=0.1, frozen=None):
    skill = {"rank_ic": 0.05, "standard_error": 0.01, "p_one_sided": p, "dates": 100}
    random = {"depth": 1, "method": "saliency", "kind": "peer", "rank_correlation": 0.0, "absolute": forgotten}
    found = {"skill": pd.DataFrame([skill]), "randomisation": pd.DataFrame([random])}
    if frozen is not None:
        row = {
            "rank_ic": 0.05,
            "uniform_rank_ic": 0.04,
            "difference": 0.01,
            "standard_error": 0.01,
            "p_one_sided": frozen,
        }
        found["frozen"] = pd.DataFrame([row])
    return found


def figures(area=(0.01, 0.05), infidelity=(0.2, 0.4), seeds=None, method="saliency"):
    row = {"method": method, "kind": "peer", "figure": "", "value": 0.0, "dates": 9}
    rows = [
        row | {"check": "deletion", "lower": area[0], "upper": area[1], "chance": 0.0},
        row | {"check": "infidelity", "lower": infidelity[0], "upper": infidelity[1], "chance": 0.9},
    ]
    if seeds is not None:
        rows.append(row | {"check": "seeds", "lower": seeds, "upper": 1.0, "chance": 0.0})
    return pd.DataFrame(rows)


NAME = "saliency (peer)"


@pytest.mark.parametrize(
    "table, why, says",
    [
        (figures(), details(), "finds what matters and says by how much"),
        (figures(area=(-0.01, 0.05)), details(), "says by how much"),
        (figures(infidelity=(0.2, 0.95)), details(), "finds what matters"),
        (figures(seeds=0.1), details(), "finds what matters and says by how much"),
        (figures(), details(frozen=0.5), "finds what matters and says by how much"),
    ],
)
def test_a_map_is_believed_for_what_was_shown(table, why, says):
    found = judge(table, why)
    assert found.trusted and found.believed == {NAME: says} and not found.doubted
    assert found.headline == f"Of this model one may believe {NAME}; all else was not shown."


@pytest.mark.parametrize(
    "table, why, because",
    [
        (figures(area=(-0.01, 0.05), infidelity=(0.2, 0.95)), details(), "it was not shown to find what matters"),
        (figures(area=(0.0, 0.05), infidelity=(0.2, 0.9)), details(), "it was not shown"),
        (figures(seeds=-0.1), details(), "its maps are no more alike over seeds than by chance"),
        (figures(), details(forgotten=0.9), "much the same when the model has forgotten"),
        (figures(), details(p=0.05), "the model has no skill"),
    ],
)
def test_a_map_is_doubted_and_the_verdict_says_why(table, why, because):
    found = judge(table, why)
    assert not found.trusted and not found.believed and because in found.doubted[NAME]
    assert found.headline.startswith("Explanations of this model cannot be trusted")


def test_what_has_no_interval_is_not_shown_however_large():
    few = figures(area=(np.nan, np.nan), infidelity=(0.2, 0.95)).assign(value=0.9)
    assert not judge(few, details()).trusted


def test_maps_that_are_the_same_on_all_dates_have_no_interval_and_are_stable():
    same = figures(seeds=np.nan).assign(value=0.5, upper=lambda table: table["upper"].where(table["check"] != "seeds"))
    assert judge(same, details()).trusted
    assert not judge(same.assign(value=-0.1), details()).trusted
    assert not judge(same.assign(dates=3), details()).trusted


def test_attention_that_is_not_needed_is_doubted_and_gradients_are_not():
    both = pd.concat([figures(), figures(method="attention")])
    found = judge(both, details(frozen=0.2))
    assert list(found.believed) == [NAME] and list(found.doubted) == ["attention (peer)"]
    assert list(judge(both, details(frozen=0.01)).believed) == [NAME, "attention (peer)"]


# -- files and words ---------------------------------------------------------------------------------------------------


def test_an_audit_is_read_back_as_it_was_written(skilled, tmp_path):
    again = Audit.load(skilled.save(tmp_path / "audit"))
    assert again.verdict == skilled.verdict and again.made == dict(skilled.made)
    pd.testing.assert_frame_equal(again.table, skilled.table)
    for name, table in skilled.details.items():
        pd.testing.assert_frame_equal(again.details[name], table)


def test_a_folder_that_is_no_audit_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be an audit that finattn saved, found another"):
        Audit.load(tmp_path)


def test_the_table_of_methods_has_a_row_a_method_and_kind_and_what_is_undefined_is_a_dash(skilled):
    methods, attention = audited.tables(skilled)
    assert [row[0] for row in methods.rows][:2] == ["Saliency, its own days", "Input × gradient, its own days"]
    believed = {row[0]: row[1] for row in methods.rows}
    assert believed["Attention, peers"] == "no" and "—" in {cell for row in methods.rows for cell in row}
    assert attention.rows[0][0] == "made even, peers"


SMALL = (
    "--features", "[reversal]", "--forecasters", "[ridge, sic_kernel, firm]", "--headline", "[firm, ridge]",
    "--primary", "[firm, sic_kernel]", "--splits.first_test", "2018-01-01",
    "--splits.test", "1Y", "--splits.valid", "1Y", "--splits.train", "2Y", "--splits.decisions", "month-end",
    "--model.width", "8", "--model.heads", "2", "--training.epochs", "1", "--training.minimum_epochs", "1",
    "--training.block", "100", "--training.seeds", "[0]", "--training.threads", "1", "--data.start", "2014-01-01",
    "--data.end", "2019-12-31",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("audit")
    assert main(["run", "--name", "small", "--out", str(out), *SMALL]) == 0
    return out / "small"


def test_a_run_is_audited_on_the_command_line_and_its_report_says_what_came_out(run, capsys):
    capsys.readouterr()
    asked = ["audit", str(run), "--dates", "4", "--firms", "6", "--draws", "1", "--methods", "attention", "saliency"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["made"]["fold"] == 1 and found["made"]["decisions"] == 12
    assert {row["check"] for row in found["figures"]} >= {"frozen", "adversary", "deletion"}
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "How far explanations may be believed" in report and found["verdict"]["headline"] in report
    assert audited.CAVEAT in report


def test_a_fold_that_there_is_not_is_refused(run, capsys):
    assert main(["audit", str(run), "--fold", "9"]) == 2
    assert "fold must be one of 0, 1, found 9" in capsys.readouterr().err


def rows_of_skill(rank_ic, dates=40, p=0.001):
    return pd.DataFrame([{"rank_ic": rank_ic, "lower": rank_ic - 0.02, "upper": rank_ic + 0.02, "chance": 0.0,
                          "standard_error": 0.01, "p_one_sided": p, "dates": dates}])  # fmt: skip


@pytest.mark.parametrize(
    "known, headline, why",
    [
        (rows_of_skill(-0.06, p=0.98), "its forecasts are no better than chance.", "the model has no skill"),
        (rows_of_skill(0.20, dates=19), "cannot be judged on 19 dates, where 20 are asked.", "too few dates"),
    ],
)
def test_skill_on_all_test_dates_overrules_that_on_a_few(skilled, known, headline, why):
    found = with_skill(skilled, known)
    assert skilled.verdict.trusted and not found.verdict.trusted and not found.verdict.believed
    assert found.verdict.headline.endswith(headline) and set(found.verdict.doubted.values()) == {why}
    assert found.table["value"][0] == known["rank_ic"][0]
    pd.testing.assert_frame_equal(found.table[1:], skilled.table[1:])


def test_nothing_is_believed_of_fits_that_do_not_forecast_alike(skilled):
    table = skilled.details["apart"].assign(rank_correlation=0.2, rank_correlation_lower=-0.1)
    verdict = judge(skilled.table, {**skilled.details, "apart": table})
    assert "differ by their seed alone do not forecast alike" in verdict.headline and not verdict.believed
    assert any("order firms alike by a rank correlation of 0.20 (95%: −0.100 to" in said for said in verdict.sentences)


def test_an_audit_of_dates_without_a_ranking_is_refused():
    with pytest.raises(InputError, match="dates on which two firms or more are ranked apart, found none"):
        skill([np.nan, np.nan], 0)


def test_the_command_line_has_the_settings_of_checks():
    given = _parser().parse_args(["run"])
    assert Checks(tuple(given.methods), given.dates, given.firms, draws=given.draws, seed=given.seed) == Checks()


def test_a_map_whose_heavy_keys_matter_less_than_random_ones_is_not_believed(skilled):
    table = skilled.table.copy()
    wrong = (table["check"] == "deletion") & (table["method"] == "input_x_gradient") & (table["kind"] == "peer")
    table.loc[wrong, ["value", "lower", "upper"]] = [-0.05, -0.08, -0.01]
    verdict = judge(table, skilled.details)
    assert verdict.doubted["input_x_gradient (peer)"] == "taking away what it calls heavy costs less than random order"


def test_an_audit_names_its_model_and_forecasts(skilled):
    assert audited.which(skilled) == "Audited: Learned look-up, 2 fits."
    made = {**skilled.made, "fold": 3, "decisions": 26, "first": "2020-01-03", "last": "2020-06-26"}
    said = audited.which(Audit(skilled.table, skilled.verdict, skilled.details, made))
    assert said == "Audited: Learned look-up, 2 fits of fold 3, on 26 dates from 2020-01-03 to 2020-06-26."
