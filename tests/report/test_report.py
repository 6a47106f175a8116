"""The report: complete, self-contained, true to the object, and unbroken by what users write."""

from __future__ import annotations

import datetime
import re
from html.parser import HTMLParser

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import lexicell as lx
from lexicell import _report
from lexicell._errors import InputError, MissingKeyError

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Parses a page strictly: every element closed, in order; keeps what tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.images, self.tags, self.headings = [], [], [], [], set(), []
        self.words, self.rows, self._cells, self.scripts, self.policy = [], [], None, [], ""
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        if tag == "script":
            self.scripts.append(given)
        if "http-equiv" in given:
            self.policy = given["content"]
        if tag == "img":
            self.images.append(given)
        if tag == "tr":
            self._cells = []
        if tag in ("td", "th") and self._cells is not None:
            self._cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            self.rows.append([c.strip() for c in self._cells])
            self._cells = None

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.words.append(data)
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)
        if self._cells:
            self._cells[-1] += data

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))

    def row(self, first):
        return next(r for r in self.rows if r and r[0] == first)


@pytest.fixture
def page_of(tmp_path):
    def make(adata, **options):
        lx.report(adata, tmp_path / "r.html", **options)
        return Page((tmp_path / "r.html").read_text(encoding="utf-8"))

    return make


def _set(data, column, values):
    data.obs[column] = values


def test_all_sections_stand_in_their_order_and_links_lead_to_them(adata, page_of):
    page = page_of(adata, color=["kind", "depth"])
    assert page.headings == [
        "Cells in words", "What was found", "The cells", "Clusters in words", "Beside expression alone",
        "Data and coverage", "Methods, to paste", "Provenance", "Tables to save",
    ]  # fmt: skip
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_nothing_is_loaded_from_elsewhere(adata, page_of, tmp_path):
    page = page_of(adata, color="kind")
    assert "link" not in page.tags
    assert not any(given.get("src") for given in page.scripts)
    assert "default-src 'none'" in page.policy
    assert "connect-src 'none'" in page.policy
    assert all(link.startswith("#") for link in page.links)
    assert page.images
    assert all(i["src"].startswith("data:image/svg+xml;base64,") for i in page.images)
    text = re.sub(r"<script.*?</script>", "", (tmp_path / "r.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"url\(|@import|<iframe|<object", text)


def test_every_figure_is_described_for_those_who_cannot_see_it(adata, page_of):
    alts = [i["alt"] for i in page_of(adata, color=["kind", "depth"]).images]
    assert len(alts) == 2
    assert all(len(a) > 20 for a in alts)
    assert len(set(alts)) == len(alts)


def test_words_of_users_are_text_not_markup(adata, page_of, tmp_path):
    page = page_of(adata, color="kind", title="<script>alert(1)</script> & more")
    assert len(page.scripts) == 5
    assert page.headings[0] == "<script>alert(1)</script> & more"
    for words in ("A & B", "<i>C</i>", "<b>&gene", "first <concept>", "table of <tests>"):
        assert words in page.text
    raw = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not any(w in raw for w in ("<script>alert", "<i>C", "<b>&gene", "<concept>", "<tests>"))


def test_cluster_table_says_what_the_object_says(adata, page_of):
    page = page_of(adata, color="kind")
    made = adata.uns["lexicell"]["X_text_fused"]["cluster"]
    for name, row in made["table"].iterrows():
        shown = page.row(str(name))
        assert shown[1] == str(row["cells"])
        inside = adata.obs["kind"][(adata.obs["text_fused_leiden"] == name).to_numpy()].value_counts()
        assert shown[3].startswith(inside.index[0])
        assert shown[5] == row["genes"]
        words = made["concepts"][made["concepts"]["group"] == name]
        said = f"{words.iloc[0]['concept']} {words.iloc[0]['z']:.1f}" if len(words) else "no clear word"
        assert shown[4].startswith(said)


def test_agreement_with_labels_is_the_adjusted_rand_index(adata, page_of):
    page = page_of(adata, color="kind")
    for key, column in (("X_expression", "expression_leiden"), ("X_text", "text_leiden")):
        expected = adjusted_rand_score(adata.obs["kind"], adata.obs[column])
        assert page.row(key)[2:] == [str(adata.obs[column].nunique()), f"{expected:.3f}"]


@pytest.mark.parametrize(
    ("moved", "words"),
    [(0, "agree equally well"), (40, "expression alone agrees better with the labels, by")],
    ids=["equal", "worse"],
)
def test_verdict_follows_its_rule(adata, page_of, rng, moved, words):
    adata.obs["text_fused_leiden"] = adata.obs["expression_leiden"].copy()
    rows = rng.choice(150, moved, replace=False)
    adata.obs.iloc[rows, adata.obs.columns.get_loc("text_fused_leiden")] = "0"
    page = page_of(adata, color="kind")
    assert words in page.text
    assert ("Read this first" in page.headings) == (moved > 0)


def test_coverage_names_the_genes_that_are_missing(adata, page_of):
    page = page_of(adata)
    totals = pd.Series(np.asarray(adata.X.sum(axis=0)).ravel(), index=adata.var_names)
    lost = totals.iloc[110:].sort_values(ascending=False)
    shown = [r[0] for r in page.rows if r[0] in set(lost.index)]
    assert shown == list(lost.index)
    assert page.row(lost.index[0])[1] == f"{100 * lost.iloc[0] / totals.sum():.2f}\u00a0%"
    assert "110 genes have one" in page.text


def test_provenance_is_complete(adata, page_of):
    text = page_of(adata).text
    note = adata.uns["lexicell"]["X_text"]
    for word in ("2024", "test", "7", note["gene_embedding"], lx.__version__, "whitened", "scanpy"):
        assert word in text
    assert "arXiv:2505.07896" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: _set(d, "text_coverage", 0.2), "In the median cell only 20 % of the counts"),
        (lambda d: _set(d, "text_coverage", [0.2] * 3 + [0.9] * 147), "In 3 cells less than half"),
        (
            lambda d: _set(d, "kind", d.obs["kind"].where(np.arange(150) > 4)),
            "5 cells have no label in “kind”",
        ),
        (
            lambda d: d.uns["lexicell"]["X_text_fused"]["cluster"]["table"].__setitem__("stability", 0.3),
            "not found again",
        ),
        (lambda d: d.uns["lexicell"]["X_text"]["space"].update(rank=99), "too few to estimate all 99 text dimensions"),
    ],
    ids=["coverage", "some-cells", "labels", "stability", "few-genes"],
)
def test_what_may_mislead_is_said_at_the_top(adata, page_of, change, words):
    calm = page_of(adata, color="kind").text
    change(adata)
    loud = page_of(adata, color="kind")
    assert words not in calm
    assert "Read this first" in loud.headings
    assert words in loud.text


def test_planted_data_is_labeled_as_such(adata, page_of):
    adata.uns["lexicell"]["planted"] = {"target": "D", "fold": 2.0, "program": np.array(["g1", "<g2>"], dtype=object)}
    page = page_of(adata)
    assert page.headings[1] == "Planted data: not a finding about real tissue"
    assert "program: g1, <g2>" in page.text
    assert "Simulated data" in page.text


def test_planted_data_without_an_embedding_can_be_reported(adata, page_of):
    plain = anndata.AnnData(adata.X, obs=adata.obs[["kind"]], var=adata.var[[]])
    plain.uns["lexicell"] = {"planted": {"target": "D"}}
    assert "Planted data: not a finding about real tissue" in page_of(plain).headings


def test_parts_that_were_not_computed_are_left_out(adata, page_of):
    for key in ("X_text_fused", "X_expression"):
        del adata.obsm[key], adata.obsm[f"{key}_umap"], adata.uns["lexicell"][key]
    del adata.uns["lexicell"]["X_text"]["cluster"]
    page = page_of(adata)
    assert page.headings[1:] == [
        "The cells", "Data and coverage", "Methods, to paste", "Provenance",
    ]  # fmt: skip


def test_another_representation_can_be_shown(adata, page_of):
    page = page_of(adata, use_rep="X_text")
    assert "clusters on obsm[X_text] " in page.text


def test_clusters_whose_column_is_gone_are_left_out(adata, page_of):
    del adata.obs["text_fused_leiden"]
    assert "Clusters in words" not in page_of(adata).headings


def test_expression_that_is_gone_does_not_stop_the_report(adata, page_of):
    adata.X = adata.X.toarray() - 1.0
    page = page_of(adata)
    assert "Data and coverage" in page.headings


def test_a_file_gives_the_same_page(adata, page_of, tmp_path, monkeypatch):
    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 1, 1, tzinfo=tz)

    monkeypatch.setattr(_report.datetime, "datetime", Fixed)
    page_of(adata, color="kind")
    first = (tmp_path / "r.html").read_bytes()
    adata.write_h5ad(tmp_path / "a.h5ad")
    page_of(anndata.read_h5ad(tmp_path / "a.h5ad"), color="kind")
    assert (tmp_path / "r.html").read_bytes() == first


def test_the_object_is_only_read(adata, page_of):
    before = adata.copy()
    page_of(adata, color=["kind", "depth"])
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert list(adata.obsm) == list(before.obsm)
    assert set(adata.uns) == set(before.uns)


def test_a_failure_leaves_the_old_file(adata, tmp_path, monkeypatch):
    (tmp_path / "r.html").write_text("old")
    monkeypatch.setattr(_report, "live_page", lambda *args, **options: (_ for _ in ()).throw(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        lx.report(adata, tmp_path / "r.html")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "old"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"color": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ({"use_rep": "X_txt"}, MissingKeyError, "no representation in obsm 'X_txt'"),
    ],
    ids=["column", "representation"],
)
def test_bad_input_is_refused(adata, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        lx.report(adata, tmp_path / "r.html", **options)
    assert not list(tmp_path.iterdir())


def test_an_object_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no lexicell results here yet"):
        lx.report(anndata.AnnData(np.ones((3, 2), dtype=np.float32)), tmp_path / "r.html")


def test_a_folder_is_refused(adata, tmp_path):
    with pytest.raises(InputError, match="is a folder; name a file"):
        lx.report(adata, tmp_path)


def test_what_tools_of_words_found_stands_in_sections_of_its_own(adata, page_of):
    data = adata.copy()
    data.obs["donor"] = [f"d{i % 6}" for i in range(data.n_obs)]
    data.obs["state"] = ["sick" if i % 6 < 3 else "well" for i in range(data.n_obs)]
    queries = {"queries": dict(zip(["first <concept>", "second"], np.eye(12)[:2] * 9 + 2, strict=True))}
    lx.tl.concepts(data, groupby="kind", donor="donor", min_cells=3, **queries)
    lx.tl.explain(data, groupby="kind")
    lx.tl.programs(data, n_programs=3, **queries)
    lx.tl.perturb(data, ["g3"], groupby="kind")
    page = page_of(data)
    new = ["Concepts asked for", "The genes behind a number", "Gene programs", "Predicted effect of changing genes"]
    assert [h for h in page.headings if h in new] == new
    assert all(i["alt"] for i in page.images)
