"""The page of a diagnosis: complete, in the order of the cause, escaped, and robust against whatever is missing."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from report import synthetic_diagnosis, synthetic_run
from report.synthetic_diagnosis import KINDS, PARTS, diagnosis, write
from report.test_report_page import Walk, own_markup, specs, words
from wellfit.core.errors import WellfitError
from wellfit.report import write_diagnosis, write_report
from wellfit.report.diagnosis.artefacts import Diagnosis, quantity
from wellfit.report.diagnosis.render import order, render

SECTION_OF = {"measurements": "measurements", "prescriptions": "remedies", "tried": "remedies", "curves": "curves",
              "learning_curve": "learning_curve", "bias_variance": "bias_variance", "label_noise": "label_noise",
              "calibration": "calibration", "landscape": "landscape", "leaks": "leaks", "shift": "shift",
              "learning_rates": "learning_rates", "capacity": "capacity", "cost": "provenance"}


def sections(page: str) -> list[str]:
    return [a["id"] for tag, a in Walk(page).elements if tag == "section"]


def well_formed(page: str) -> None:
    walk = Walk(page)
    assert walk.stack == []
    ids = [a["id"] for _, a in walk.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in walk.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        if "href" in attributes:
            assert attributes["href"].startswith("#") and attributes["href"][1:] in ids
        if tag in ("figure", "button") or attributes.get("role") == "region":
            assert attributes.get("aria-label"), (tag, attributes)
    assert all(b <= a or int(b[1]) == int(a[1]) + 1 for a, b in itertools.pairwise(walk.headings))
    text = own_markup(page)
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|<base", text)
    assert all("<table" in figure for figure in re.findall(r"<figure.*?</figure>", text, flags=re.S))


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_well_formed_and_self_contained(kind: str, tmp_path: Path) -> None:
    well_formed(write_report(write(tmp_path, KINDS[kind]())).read_text("utf-8"))


def test_a_whole_diagnosis_says_everything(tmp_path: Path) -> None:
    page = write_report(write(tmp_path, diagnosis())).read_text("utf-8")
    assert set(sections(page)) == {*SECTION_OF.values(), "considered"}
    text = words(page)
    for expected in ("Overfits (variance)", "86%", "What decided: Generalization gap 12.4 points",
                     "95% interval 9.8 to 15.1 points",
                     "Tried (weight decay): it helped.", "84.2%", "88.1%", "+3.9 points", "timescale=12.5",
                     "+4.1% (+2.1 to +6.0)", "+1.3 points (+0.7 to +1.8)",
                     "measured", "Loshchilov and Hutter 2019", "wf.WeightDecay(timescale=12.5)", "2.1% of the labels",
                     "95% interval 0.8% to 3.4%", "AUC 0.51", "auc 0.97, drop 0.21", "The expected calibration error is 7%",
                     "51.2 s", "too little data (8%): twice the data", "wellfit diagnose phoneme.csv --target class"):
        assert expected in text, expected
    assert len(specs(Walk(page))) == 9


def test_regression_shows_the_metrics_own_numbers(tmp_path: Path) -> None:
    text = words(write_report(write(tmp_path, diagnosis(regression=True))).read_text("utf-8"))
    assert "root mean squared error" in text and "lower is better" in text
    for written in ("12.4 points", "4.1 points", "0.9 points", "1.3 points", "measured points"):
        text = text.replace(written, "")
    assert "points" not in text


@pytest.mark.parametrize(("cause", "first"), [
    ("overfits", "curves"), ("label_noise", "label_noise"), ("leakage", "leaks"), ("shift", "shift"),
    ("too little data", "learning_curve"), ("underfits", "curves"), ("over-regularized", "curves"), ("something new", "curves")])
def test_the_evidence_of_the_cause_comes_first(cause: str, first: str) -> None:
    shown = sections(render(Diagnosis.of(diagnosis(cause=cause))))
    assert shown[:2] == ["remedies", first]
    assert shown[-3:] == ["measurements", "considered", "provenance"]


def test_leads_of_related_causes() -> None:
    assert order("over_regularized")[:2] == ["curves", "capacity"]
    assert order("overfits")[:2] == ["curves", "bias_variance"]
    assert sorted(order("leakage")) == sorted(order("nothing"))


@pytest.mark.parametrize("part", PARTS)
def test_any_part_may_be_missing_or_alone(part: str) -> None:
    whole = diagnosis()
    without = render(Diagnosis.of({k: v for k, v in whole.items() if k not in (part, "command", "versions")}))
    alone = render(Diagnosis.of({part: whole[part]}))
    well_formed(alone)
    assert SECTION_OF[part] in sections(alone)
    if part not in ("prescriptions", "tried"):
        assert SECTION_OF[part] not in sections(without)


def test_combinations_of_parts() -> None:
    whole, rng = diagnosis(), random.Random(0)
    for _ in range(40):
        kept = rng.sample(PARTS, rng.randint(0, len(PARTS)))
        shown = sections(render(Diagnosis.of({k: whole[k] for k in kept})))
        assert set(shown) == {SECTION_OF[k] for k in kept}, kept


JUNK: list[Any] = [None, [], {}, "text", 3, -1.5, float("nan"), True, [None], [[1]], {"a": None}, [{"x": "y"}], {"ci": [1]}]


def test_junk_in_place_of_any_value_is_left_out() -> None:
    def replaced(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
        if not path:
            return junk
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[path[0]] = replaced(copy[path[0]], path[1:], junk)
        return copy

    def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
        return [prefix, *(p for key, v in inner for p in paths(v, (*prefix, key)))]

    whole = diagnosis()
    everywhere = paths(whole)[1:]
    assert len(everywhere) > 150
    for i, path in enumerate(everywhere):
        page = own_markup(render(Diagnosis.of(replaced(whole, path, JUNK[i % len(JUNK)]))))
        assert page.count("<section") == page.count("</section>") > 8, path


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    page = write_report(write(tmp_path, synthetic_diagnosis.nasty())).read_text("utf-8")
    text = own_markup(page)
    for raw in ("<b>age</b>", "<script>alert", '"onmouseover="x"'):
        assert raw not in text, raw
    assert synthetic_run.NASTY[1] in words(page)


def test_quantities() -> None:
    assert quantity(None, "points") == "–"
    assert quantity(0.124, "points") == "12.4\u00a0points"
    assert quantity(12.4, "points") == "12.4\u00a0points"
    assert quantity(-0.02, "points") == "−2.0\u00a0points"
    assert quantity(0.021, "share") == "2.1%"
    assert quantity(0.3456, "") == "0.346"
    assert quantity(40.0, "epochs") == "40\u00a0epochs"
    assert quantity(61.0, "seconds") == "1 min 1 s"


def test_a_run_keeps_its_report_beside_a_diagnosis(tmp_path: Path) -> None:
    run = write(synthetic_run.write_minimal(tmp_path / "run"), diagnosis())
    assert "wellfit report" in write_report(run).read_text("utf-8")
    page = write_diagnosis(run)
    assert page.name == "diagnosis.html" and "Overfits (variance)" in page.read_text("utf-8")
    alone = write(tmp_path / "alone", diagnosis())
    assert write_diagnosis(alone) == write_report(alone) == alone / "report.html"


@pytest.mark.parametrize(("content", "expected"), [("{", "cannot be read"), ("[]", "not a JSON object"),
                                                   (json.dumps({"format": 9}), "newer wellfit")])
def test_what_cannot_be_read_is_said(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "diagnosis.json").write_text(content)
    with pytest.raises(WellfitError, match=expected):
        write_report(tmp_path)
    with pytest.raises(WellfitError, match="no diagnosis"):
        write_diagnosis(tmp_path / "nowhere")
