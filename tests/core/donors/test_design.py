"""StudyDesign: what columns mean, what is refused, and what the reader is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.donors.design_report import design_report

KEYS = {"cell_type": "kind", "condition": "state", "reference": "well", "donor": "who"}


def table(n=4, per=10, states=("well", "sick")) -> pd.DataFrame:
    rows = [(state, f"{state}{i}", kind) for state in states for i in range(n) for kind in "AB" for _ in range(per)]
    return pd.DataFrame(rows, columns=["state", "who", "kind"])


def check(obs, **options):
    return lx.StudyDesign(**{**KEYS, **options}).check(obs)


def test_cells_samples_and_arms_are_those_of_the_table():
    obs = table()
    study = check(obs)
    assert study.samples["donor"].tolist() == sorted(obs["who"].unique())
    named = study.samples["donor"].to_numpy()[study.sample_codes]
    assert named.tolist() == obs["who"].tolist()
    assert np.array(study.types)[study.type_codes].tolist() == obs["kind"].tolist()
    assert study.counts.tolist() == [[10] * 8, [10] * 8]
    (comparison,) = study.comparisons
    assert comparison.design.arms == (4, 4)
    assert study.samples["condition"][study.in_reference].unique().tolist() == ["well"]


def test_one_covariate_need_not_be_a_list():
    obs = table().assign(sex=lambda o: np.where(o["who"].str[-1].isin(["0", "1"]), "F", "M"))
    assert check(obs, covariates="sex").comparisons[0].design.kind == "freedman-lane"
    with pytest.raises(MissingKeyError, match="no column in obs 'sx'"):
        check(obs, covariates="sx")
    with pytest.raises(InputError, match=r"such as \['control', 'sick'\]"):
        lx.StudyDesign(**KEYS, stages="sick")


@pytest.mark.parametrize(
    ("values", "reference"),
    [((False, True), False), ((False, True), 0), ((0, 1), False), ((0.0, 1.0), 0), ((0, 1), "0"), ((3, 12), 3)],
    ids=["bool", "bool by 0", "int by False", "float by int", "by name", "numbers"],
)
def test_a_reference_may_be_a_number_or_a_truth(values, reference):
    obs = table()
    obs["state"] = np.where(obs["state"] == "well", values[0], values[1])
    study = check(obs, reference=reference)
    assert study.reference == str(values[0])
    assert [c.name for c in study.comparisons] == [str(values[1])]


def test_an_unknown_reference_is_named_with_the_levels():
    obs = table()
    obs["state"] = obs["state"] == "sick"
    with pytest.raises(InputError, match=r"reference '2' is not a level of obs.*choose one of 'False', 'True'"):
        check(obs, reference=2)


@pytest.mark.parametrize("name", ["nan", "NA", "None", "", "NaN"])
@pytest.mark.parametrize("column", ["kind", "who", "state"])
def test_names_of_missing_values_are_missing_and_said(column, name):
    obs = table(n=5)
    obs[column] = obs[column].replace(obs[column].iloc[-1], name) if column != "state" else obs[column]
    if column == "state":
        obs.loc[obs["who"] == "sick4", "state"] = name
    n = int((obs[column] == name).sum())
    study = check(obs)
    assert (study.groups < 0).sum() == n
    assert f"{n} cells without cell type, condition or donor were left out" in study.notes
    assert any(f"obs['{column}'] holds '{name}' in {n} cells, taken as missing" in note for note in study.notes)


def test_levels_that_differ_by_a_blank_are_pointed_out():
    obs = table()
    obs.loc[obs["who"].isin(["sick2", "sick3"]), "state"] = "sick "
    notes = check(obs).notes
    assert any("'sick', 'sick ' in obs['state'] differ only in spaces or capitals" in note for note in notes)
    assert check(table()).notes == []


def test_donors_that_are_only_counted_are_not_paired_unasked():
    obs = table()
    obs["who"] = obs["who"].str[-1]
    with pytest.raises(InputError, match="such numbers may also count the donors of each arm"):
        check(obs)
    assert check(obs, paired=True).comparisons[0].is_paired
    obs["who"] = "mouse" + obs["who"]
    assert check(obs).comparisons[0].is_paired


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_cells": 0}, "min_cells"),
        ({"n_permutations": 10}, "n_permutations"),
        ({"n_permutations": 10**12}, "at most 1,000,000"),
        ({"paired": "maybe"}, "paired must"),
    ],
    ids=["min_cells", "n_permutations", "too many", "paired"],
)
def test_numbers_out_of_range_are_refused_at_once(options, message):
    with pytest.raises(InputError, match=message):
        lx.StudyDesign(**KEYS, **options)


def test_a_covariate_that_a_donor_lacks_is_refused():
    obs = table().assign(sex="F")
    obs.loc[obs["who"] == "sick0", "sex"] = None
    with pytest.raises(InputError, match="missing for some donors"):
        check(obs, covariates=["sex"])


def test_the_report_says_what_can_be_shown():
    obs = table(n=3).assign(batch=lambda o: o["state"], total_counts=lambda o: np.where(o["state"] == "sick", 500, 900))
    obs = obs[~((obs["kind"] == "B") & (obs["who"] == "sick2"))]
    found = design_report(check(obs), obs)
    types = found["types"].set_index("cell_type")
    assert types.loc["A", "smallest_p"] == pytest.approx(2 / 20)
    assert types.loc["B", "status"].startswith("not tested: 3 donors with >= 8 cells needed")
    assert found["cells"].loc["B", "sick2 (sick)"] == 0
    said = " ".join(found["warnings"])
    for words in ("'batch' is aligned with the condition", "0.56 times", "too few donors for p <= .05 in 1 of 2 tests"):
        assert words in said


def test_the_report_states_the_smallest_p_that_covariates_leave():
    obs = table(n=4).assign(sex=lambda o: np.where(o["who"].str[-1].isin(["0", "1"]), "F", "M"))
    # Of the 70 splits only those that swap donors of one sex give the p of an enormous effect: not one order of 2,000.
    (smallest,) = design_report(check(obs, covariates=["sex"]), obs)["comparisons"]["smallest_p"]
    assert smallest == pytest.approx(2 / 70, abs=0.01)


def test_sections_named_as_donors_are_pointed_out():
    obs = table(n=6).assign(
        section=lambda o: o["who"], patient=lambda o: o["state"] + (o["who"].str[-1].astype(int) // 2).astype(str)
    )
    said = " ".join(design_report(check(obs, donor="section"), obs)["warnings"])
    assert "'patient' has 6 levels for the 12 of 'section'" in said
    assert "pass donor='patient'" in said
    alike = obs.assign(patient=obs["section"].str.upper())
    assert "levels for the" not in " ".join(design_report(check(alike, donor="section"), alike)["warnings"])
