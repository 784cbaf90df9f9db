"""Fama-French groups: known codes, ranges that do not overlap, and what happens to codes that no range holds."""

import csv
from importlib import resources

import numpy as np
import pytest

from finattn.config import DataConfig
from finattn.data import load, sample
from finattn.data.industries import (
    SCHEMES,
    fama_french,
    fama_french_groups,
    sector_features,
    unclassified,
    with_fama_french,
)
from finattn.data.sic import (
    four_digits,
    industry_levels,
    sic_division,
    sic_divisions,
    sic_industry_groups,
    sic_major_groups,
    sic_names,
)
from finattn.errors import InputError
from finattn.panel import Panel

ALL = np.arange(10_000)


def name(code: int, scheme: int, **options) -> str | None:
    number = int(fama_french(np.array(code), scheme, **options))
    return fama_french_groups(scheme)[number - 1].short_name if number else None


def rows(scheme: int) -> list[dict[str, str]]:
    text = (resources.files("finattn") / "tables" / f"fama_french_{scheme}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


# -- the tables ------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_has_its_number_of_groups_and_its_ranges_do_not_overlap(scheme):
    groups = fama_french_groups(scheme)
    assert [group.number for group in groups] == list(range(1, scheme + 1))
    assert len({group.short_name for group in groups}) == scheme and groups[-1].short_name == "Other"
    assert all(group.name == group.name.strip() != "" for group in groups)
    ranges = sorted(pair for group in groups for pair in group.ranges)
    assert all(1 <= first <= last <= 9999 for first, last in ranges)
    assert all(last < first for (_, last), (first, _) in zip(ranges, ranges[1:], strict=False))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ranges_that_follow_each_other_in_a_group_are_one(scheme):
    for group in fama_french_groups(scheme):
        assert all(a[1] + 1 < b[0] for a, b in zip(group.ranges, group.ranges[1:], strict=False)), group


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_row_of_a_table_is_read(scheme):
    groups = fama_french_groups(scheme)
    assert sum(max(len(group.ranges), 1) for group in groups) == len(rows(scheme))
    assert [group.number for group in groups if not group.ranges] == ([scheme] if scheme in (5, 10, 12, 38) else [])


# The number of codes from 0 to 9999 that ranges hold, counted in French's own texts.
@pytest.mark.parametrize(
    "scheme, count",
    [(5, 4456), (10, 4456), (12, 5450), (17, 4529), (30, 4990), (38, 9622), (48, 5054), (49, 5054)],
)
def test_ranges_hold_as_many_codes_as_the_definitions(scheme, count):
    assert (fama_french(ALL, scheme, unlisted="unknown") > 0).sum() == count


# -- known codes ------------------------------------------------------------

ANCHORS = {  # code: short names in the schemes of 5, 10, 12, 17, 30, 38, 48, 49
    100: ("Cnsmr", "NoDur", "NoDur", "Food", "Food", "Agric", "Agric", "Agric"),  # crops
    1040: ("Other", "Other", "Other", "Mines", "Mines", "Mines", "Gold", "Gold"),  # gold ores
    1311: ("Manuf", "Enrgy", "Enrgy", "Oil", "Oil", "Oil", "Oil", "Oil"),  # crude petroleum
    1531: ("Other", "Other", "Other", "Cnstr", "Cnstr", "Cnstr", "Cnstr", "Cnstr"),  # operative builders
    2080: ("Cnsmr", "NoDur", "NoDur", "Food", "Beer", "Food", "Beer", "Beer"),  # beverages
    2111: ("Cnsmr", "NoDur", "NoDur", "Cnsum", "Smoke", "Smoke", "Smoke", "Smoke"),  # cigarettes
    2834: ("Hlth", "Hlth", "Hlth", "Cnsum", "Hlth", "Chems", "Drugs", "Drugs"),  # pharmaceuticals
    2911: ("Manuf", "Enrgy", "Enrgy", "Oil", "Oil", "Ptrlm", "Oil", "Oil"),  # refining
    3312: ("Manuf", "Manuf", "Manuf", "Steel", "Steel", "Metal", "Steel", "Steel"),  # steel works
    3571: ("HiTec", "HiTec", "BusEq", "Machn", "BusEq", "Machn", "Comps", "Hardw"),  # computers
    3674: ("HiTec", "HiTec", "BusEq", "Machn", "BusEq", "Elctr", "Chips", "Chips"),  # semiconductors
    3711: ("Cnsmr", "Durbl", "Durbl", "Cars", "Autos", "Cars", "Autos", "Autos"),  # cars
    3721: ("Manuf", "Manuf", "Manuf", "Trans", "Carry", "Cars", "Aero", "Aero"),  # aircraft
    3841: ("Hlth", "Hlth", "Hlth", "Other", "Hlth", "Instr", "MedEq", "MedEq"),  # surgical instruments
    4512: ("Other", "Other", "Other", "Trans", "Trans", "Trans", "Trans", "Trans"),  # airlines
    4813: ("HiTec", "Telcm", "Telcm", "Other", "Telcm", "Phone", "Telcm", "Telcm"),  # telephone
    4911: ("Manuf", "Utils", "Utils", "Utils", "Util", "Utils", "Util", "Util"),  # electric services
    4953: ("Other", "Other", "Other", "Other", "Other", "Garbg", "Other", "Other"),  # refuse
    5311: ("Cnsmr", "Shops", "Shops", "Rtail", "Rtail", "Rtail", "Rtail", "Rtail"),  # department stores
    5812: ("Cnsmr", "Shops", "Shops", "Rtail", "Meals", "Rtail", "Meals", "Meals"),  # eating places
    6021: ("Other", "Other", "Money", "Finan", "Fin", "Money", "Banks", "Banks"),  # national banks
    6311: ("Other", "Other", "Money", "Finan", "Fin", "Money", "Insur", "Insur"),  # life insurance
    6798: ("Other", "Other", "Money", "Finan", "Fin", "Money", "Fin", "Fin"),  # REITs
    7372: ("HiTec", "HiTec", "BusEq", "Other", "Servs", "Srvc", "BusSv", "Softw"),  # software
    7373: ("HiTec", "HiTec", "BusEq", "Other", "BusEq", "Srvc", "Comps", "Softw"),  # systems design
    8062: ("Hlth", "Hlth", "Hlth", "Other", "Hlth", "Srvc", "Hlth", "Hlth"),  # hospitals
    9995: ("Other", "Other", "Other", None, None, "Govt", None, None),  # in no range of most
}


@pytest.mark.parametrize("code", ANCHORS)
def test_a_known_code_is_in_its_group(code):
    assert tuple(name(code, scheme) for scheme in SCHEMES) == ANCHORS[code]


def test_49_groups_are_the_48_with_software_apart():
    before = np.array([None, *(group.short_name for group in fama_french_groups(48))])[fama_french(ALL, 48)]
    after = np.array([None, *(group.short_name for group in fama_french_groups(49))])[fama_french(ALL, 49)]
    moved = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
    assert moved == {("Comps", "Hardw"), ("Comps", "Softw"), ("BusSv", "Softw")}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unknown_is_in_no_group(scheme):
    for unlisted in ("as defined", "last group", "unknown"):
        assert fama_french(np.array([0]), scheme, unlisted=unlisted).tolist() == [0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_in_no_range_go_where_they_are_sent(scheme):
    groups, unlisted = fama_french_groups(scheme), fama_french(ALL, scheme, unlisted="unknown") == 0
    unlisted[0] = False
    assert unlisted.any()
    assert (fama_french(ALL, scheme, unlisted="last group")[unlisted] == scheme).all()
    expected = 0 if groups[-1].ranges else scheme
    assert (fama_french(ALL, scheme)[unlisted] == expected).all()


def test_any_shape_and_any_integers():
    codes = np.array([[3571, 0], [6021, 2834]])
    for kind in (np.int16, np.uint16, np.int32, np.int64):
        found = fama_french(codes.astype(kind), 48)
        assert found.tolist() == [[35, 0], [44, 13]] and found.dtype == np.int32
    assert fama_french(np.zeros((0, 3), int), 5).shape == (0, 3)


@pytest.mark.parametrize(
    "codes, scheme, options, message",
    [
        ([1], 20, {}, "must be of 5, 10, 12, 17, 30, 38, 48, 49 groups, found 20"),
        ([1], 48.0, {}, "groups, found 48.0"),
        ([1], "48", {}, "groups, found '48'"),
        ([10_000, -1, 3571], 48, {}, r"SIC codes must be from 0 \(unknown\) to 9999, found -1, 10000"),
        ([3571.0], 48, {}, "SIC codes must be integers, found float64"),
        ([1], 48, {"unlisted": "other"}, "unlisted must be one of as defined, last group, unknown, found 'other'"),
    ],
)
def test_what_cannot_be_grouped_is_refused(codes, scheme, options, message):
    with pytest.raises(InputError, match=message):
        fama_french(np.array(codes), scheme, **options)


def test_the_lookup_cannot_be_written_to():
    found = fama_french(ALL, 12)
    found[:] = 7
    assert name(6021, 12) == "Money"


# -- panels ------------------------------------------------------------


def make_panel(**fields) -> Panel:
    industry = np.array([[3571, 0, 9995, 6021], [3571, 2834, 9995, 6021], [7372, 2834, 9995, 6021]])
    listed = np.array([[True, True, True, False]] * 3)
    return Panel(
        **(
            {"dates": ["2020-01-02", "2020-01-03", "2020-01-06"], "firms": list("ABCD"), "returns": np.zeros((3, 4))}
            | {"industry": industry, "listed": listed, "industry_as_of": True, "source": {"name": "toy"}}
            | fields
        )
    )


def test_a_panel_with_groups_for_industries_keeps_the_rest():
    panel = make_panel()
    grouped = with_fama_french(panel, 49)
    assert grouped.industry.tolist() == [[35, 0, 0, 45], [35, 13, 0, 45], [36, 13, 0, 45]]
    assert (grouped.industry_scheme, grouped.industry_widths, grouped.industry_as_of) == ("custom", (2,), True)
    assert grouped.source == {"name": "toy", "industry_groups": "49 groups of Fama and French"}
    back = {"industry": panel.industry, "industry_scheme": "sic", "industry_widths": (), "source": panel.source}
    assert grouped.replace(**back).fingerprint == panel.fingerprint
    levels = industry_levels(grouped.industry, grouped.industry_scheme, grouped.industry_widths)
    np.testing.assert_array_equal(levels, grouped.industry[None])
    assert with_fama_french(panel, 5).industry_widths == (1,)
    assert with_fama_french(panel, 48, unlisted="last group").industry[:, 2].tolist() == [48] * 3


def named(panel: Panel) -> list[list[list[str]]]:
    """Return the short names of the groups that each date and firm is in."""
    places = [f for f, name in enumerate(panel.feature_names) if name.startswith("sector_")]
    short = [panel.feature_names[f].removeprefix("sector_") for f in places]
    return [[[short[f] for f in np.flatnonzero(cell)] for cell in row] for row in panel.features[:, :, places]]


def test_codes_become_features_of_the_group_that_each_is_in_on_each_date():
    panel = make_panel(features=np.full((3, 4, 1), 7.0), feature_names=("size",))
    found = sector_features(panel, 49)
    assert named(found) == [
        [["Hardw"], [], [], ["Banks"]], [["Hardw"], ["Drugs"], [], ["Banks"]], [["Softw"], ["Drugs"], [], ["Banks"]]
    ]  # fmt: skip
    assert np.unique(found.features[:, :, 1:]).tolist() == [0, 1] and (found.features[:, :, 0] == 7).all()
    assert found.source["sector_features"] == {"groups": "49 of Fama and French", "listed_without_group": 4}
    without = sector_features(panel.replace(industry=np.zeros((3, 4), int)))  # D is never listed
    assert without.source["sector_features"]["listed_without_group"] == 9
    back = {"features": panel.features, "feature_names": ("size",), "source": panel.source}
    assert found.replace(**back).fingerprint == panel.fingerprint
    assert named(sector_features(panel))[0] == [["BusEq"], [], ["Other"], ["Money"]]  # 12 groups, the last is the rest


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_has_all_its_features_whatever_codes_occur(scheme):
    names = tuple(f"sector_{group.short_name}" for group in fama_french_groups(scheme))
    assert sector_features(make_panel(), scheme).feature_names == names
    without = sector_features(make_panel(industry=np.zeros((3, 4), int)), scheme)
    assert without.feature_names == names and not without.features.any() and without.features.dtype == np.float32


@pytest.mark.parametrize("rows", [1, 2])
def test_sector_features_do_not_change_when_the_future_does(rows):
    panel = make_panel()
    industry = np.array(panel.industry)
    industry[rows:] = 4911
    for other in (panel.replace(industry=industry), panel[:rows]):
        np.testing.assert_array_equal(sector_features(other).features[:rows], sector_features(panel).features[:rows])


def test_sector_features_are_refused_of_other_codes_and_where_they_are_there():
    with pytest.raises(InputError, match="industry_scheme must be sic to be grouped, found 'gics'"):
        sector_features(make_panel(industry_scheme="gics", industry=np.full((3, 4), 45202030)))
    with pytest.raises(InputError, match="a Fama-French scheme must be of .* groups, found 11"):
        sector_features(make_panel(), 11)
    with pytest.raises(InputError, match="feature_names must be unique, found .*sector_NoDur"):
        sector_features(sector_features(make_panel()))


def test_a_configuration_asks_for_sector_features_of_any_source(tmp_path):
    found = load(DataConfig(start="2020-01-01", end="2020-01-31", sector_features=12))
    assert found.fingerprint == sector_features(sample()["2020-01-01":"2020-01-31"]).fingerprint
    assert load(DataConfig(end="1990-01-31")).feature_names == ()
    make_panel(industry=np.zeros((3, 4), int)).save(tmp_path / "panel")
    with pytest.raises(
        InputError, match="data.sector_features must be left out of a panel without industry codes, .*12"
    ):
        load(DataConfig("panel", str(tmp_path / "panel"), sector_features=12))


def test_groups_are_not_grouped_again():
    with pytest.raises(InputError, match="industry_scheme must be sic to be grouped, found 'custom'"):
        with_fama_french(with_fama_french(make_panel(), 48), 12)


def test_a_table_says_which_firms_have_no_code():
    assert unclassified(make_panel(names=("Alpha", "Beta", "Gamma", "Delta"))).to_dict("records") == [
        {"firm": "B", "name": "Beta", "listed": 3, "without_code": 1, "share": 1 / 3}
    ]
    table = unclassified(with_fama_french(make_panel(), 48))
    assert table[["firm", "name", "share"]].values.tolist() == [["C", "C", 1.0], ["B", "B", 1 / 3]]
    assert unclassified(sample()).empty


def test_a_firm_that_is_never_listed_is_not_in_the_table():
    assert "D" not in unclassified(make_panel(industry=np.zeros((3, 4), int)))["firm"].tolist()


# -- names of SIC groups ------------------------------------------------------------


def test_major_groups_are_83_and_each_is_in_the_division_of_its_digits():
    groups = sic_major_groups()
    assert len(groups) == 83 and list(groups) == sorted(groups)
    assert groups[1] == "Agricultural production crops" and groups[67] == "Holding and other investment offices"
    divisions = sic_division(np.array(list(groups)) * 100)
    assert (divisions[:-1] > 0).all() and list(groups)[-1] == 99  # nonclassifiable establishments are in no division
    assert set(divisions[:-1].tolist()) == set(range(1, len(sic_divisions()) + 1))


def test_industry_groups_are_416_and_each_is_in_a_major_group():
    groups = sic_industry_groups()
    assert len(groups) == 416 and list(groups) == sorted(groups)
    assert {code // 10 for code in groups} == set(sic_major_groups())
    assert min(groups) == 11 and max(groups) == 999 and all(code % 10 for code in groups)


def test_every_row_of_the_tables_of_names_is_read():
    for table, found in (("sic_major_groups", sic_major_groups()), ("sic_industry_groups", sic_industry_groups())):
        text = (resources.files("finattn") / "tables" / f"{table}.csv").read_text(encoding="utf-8")
        assert text.splitlines()[0] == "code,name" and len(text.splitlines()) == len(found) + 1


def test_names_of_industry_groups_are_whole_or_none():
    groups = sic_industry_groups()
    assert [code for code, name in groups.items() if not name] == [
        226,
        267,
        282,
        305,
        329,
        343,
        353,
        732,
        792,
        822,
        899,
    ]
    named = [name for name in groups.values() if name]
    assert all(name == " ".join(name.split()) and name[0].isupper() for name in named)
    cut = (",", ";", " and", " of", " or", " except", " elsewhere", " not", " including")
    assert not [name for name in named if name.endswith(cut)]


@pytest.mark.parametrize(
    "code, name",
    [
        (11, "Cash grains"),
        (131, "Crude petroleum and natural gas"),
        (203, "Canned, frozen, and preserved fruits, vegetables, and food specialties"),
        (283, "Drugs"),
        (355, "Special industry machinery, except metalworking machinery"),
        (357, "Computer and office equipment"),
        (395, "Pens, pencils, and other artists' materials"),
        (443, "Freight transportation on the Great Lakes-St. Lawrence Seaway"),
        (602, "Commercial banks"),
        (737, "Computer programming, data processing, and other computer related services"),
        (965, "Regulation, licensing, and inspection of miscellaneous commercial sectors"),
        (999, "Nonclassifiable establishments"),
    ],
)
def test_a_known_industry_group_has_its_name(code, name):
    assert sic_industry_groups()[code] == name


@pytest.mark.parametrize(
    "code, names",
    [
        (111, ("Cash grains", "Agricultural production crops", "Agriculture, forestry and fishing")),
        (
            3571,
            (
                "Computer and office equipment",
                "Industrial and commercial machinery and computer equipment",
                "Manufacturing",
            ),
        ),
        (6021, ("Commercial banks", "Depository institutions", "Finance, insurance and real estate")),
        (2821, ("", "Chemicals and allied products", "Manufacturing")),  # 282 has no certain name
        (2800, ("", "Chemicals and allied products", "Manufacturing")),  # a major group's own code
        (1100, ("", "", "Mining")),  # no major group 11
        (9999, ("Nonclassifiable establishments", "Nonclassifiable establishments", "Public administration")),
        (9000, ("", "", "")),
        (28, ("", "Chemicals and allied products", "Manufacturing")),  # of two digits
        (0, ("", "", "")),
    ],
)
def test_a_code_is_named_at_each_level_that_knows_it(code, names):
    assert sic_names(code) == names


def test_codes_of_two_digits_are_major_groups_in_their_divisions_also_among_others():
    codes = np.array([[28, 1, 99], [2834, 60, 0]], np.int32)
    assert industry_levels(codes, "sic")[2:].tolist() == [[[28, 1, 99], [28, 60, 0]], [[4, 1, 10], [4, 8, 0]]]
    every = np.array(list(sic_major_groups()))
    assert (sic_division(four_digits(every)) > 0).all()
    assert (industry_levels(every, "sic") == industry_levels(100 * every, "sic")).all()
    assert industry_levels(codes, "custom", (4, 2))[1].tolist() == [[0, 0, 0], [28, 0, 0]]  # digits as they are told


def test_names_are_those_of_the_levels():
    codes = np.array([code * 10 + 1 for code in sic_industry_groups()])
    _, industry_groups, major_groups, divisions = industry_levels(codes, "sic")
    tables = zip(industry_groups, major_groups, divisions, strict=True)
    expected = [(sic_industry_groups()[a], sic_major_groups()[b], sic_divisions()[c - 1][3]) for a, b, c in tables]
    assert [sic_names(int(code)) for code in codes] == expected
