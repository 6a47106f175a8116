"""The report in a real browser: it is drawn, answers, breaks at no name, and asks nothing of any network."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from PIL import Image

import lexicell as lx

HARM = "</script><img src=x onerror=window.harmed=1>"


@pytest.fixture(scope="module")
def cells(_made):
    """The object of the other tests, with donors, a gene and a type whose names are an attack."""
    adata = _made.copy()
    adata.obs["kind"] = adata.obs["kind"].cat.rename_categories({"D": HARM})
    adata.obs["donor"] = [f"d{i % 5}" for i in range(adata.n_obs)]
    adata.obs["number"] = np.where(np.arange(150) < 3, np.nan, np.arange(150.0))
    adata.var_names = [HARM if name == "g1" else name for name in adata.var_names]
    markers = adata.uns["lexicell"]["X_text_fused"]["cluster"]["markers"]
    adata.uns["lexicell"]["X_text_fused"]["cluster"]["markers"] = markers.replace("g1", HARM)
    scores = np.random.default_rng(0).normal(size=(150, 2))
    adata.obsm["text_concepts"] = pd.DataFrame(scores, index=adata.obs_names, columns=["oxidative stress", HARM])
    return adata


@pytest.fixture(scope="module")
def file(cells, tmp_path_factory):
    return lx.report(cells, tmp_path_factory.mktemp("page") / "r.html", color=["kind", "donor", HARM, "g3"])


class Opened:
    """A page with all that it said and asked for."""

    def __init__(self, browser, file, query="", **options):
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri() + query)
        self.page.wait_for_function("document.documentElement.dataset.ready", timeout=60_000)

    def errors(self):
        # That reading pixels back is slow, as these tests do, is said as a warning.
        return [said for said in self.said if "ReadPixels" not in said and "willReadFrequently" not in said]

    def tsv(self, press):
        with self.page.expect_download() as found:
            press()
        with Path(found.value.path()).open(newline="") as stream:
            return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture
def open_page(browser, file):
    opened = []

    def make(query="", **options):
        opened.append(Opened(browser, file, query, **({"viewport": {"width": 1200, "height": 1000}} | options)))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def colors_of_map(page):
    """Number of different colors on the map as it is drawn."""
    return page.evaluate(
        """() => { const map = document.getElementById("map");
        const d = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
        return new Set(Array.from({ length: d.length / 4 }, (_, i) => d.slice(4 * i, 4 * i + 3).join())).size; }"""
    )


@pytest.mark.parametrize("query", ["", "?map=canvas"], ids=["webgl", "canvas"])
def test_the_page_is_drawn_and_asks_for_nothing(open_page, file, query):
    seen = open_page(query)
    if seen.page.get_attribute("#map", "data-kind") == "canvas" and not query:
        pytest.skip("this browser draws no WebGL with float textures, so the page uses its plain canvas")
    assert seen.page.get_attribute("#map", "data-kind") == ("canvas" if query else "webgl")
    for _ in range(40):
        if colors_of_map(seen.page) > 3:
            break
        seen.page.wait_for_timeout(100)
    assert colors_of_map(seen.page) > 3
    assert seen.errors() == []
    assert [url for url in seen.asked if not url.startswith(("blob:", "data:"))] == [file.as_uri() + query]
    assert seen.page.evaluate("performance.getEntriesByType('resource').length") == 0


def test_names_from_the_data_are_harmless(open_page):
    seen = open_page()
    page = seen.page
    for name in (HARM, "oxidative stress", "kind"):
        page.select_option("#color", label=name) if name != HARM else page.fill("#search", HARM)
        page.wait_for_timeout(250)
    page.locator("#options li").first.dispatch_event("pointerdown")
    page.select_option("#color", label="kind")
    page.locator("#legend button").filter(has_text=HARM).click()
    page.click("summary:has-text('Compare')")
    page.click("#compare")
    assert HARM in page.inner_text("#reading")
    assert page.evaluate("window.harmed") is None
    assert page.locator("img[src=x]").count() == 0
    # What is injected all the same is not run.
    page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.harmed = 1";
        document.body.append(script); }"""
    )
    assert page.evaluate("window.harmed") is None


def test_a_request_that_is_tried_is_refused(open_page):
    page = open_page().page
    assert page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"


@pytest.mark.parametrize("query", ["", "?map=canvas"], ids=["webgl", "canvas"])
def test_hover_names_the_cell_its_labels_and_words(open_page, cells, query):
    page = open_page(query).page
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    # A cell far from others: the rightmost one.
    points = cells.obsm["X_text_fused_umap"]
    low, high = points.min(axis=0), points.max(axis=0)
    placed = 2 * (points - (low + high) / 2) / ((high - low).max() * 1.06)
    cell = int(placed[:, 0].argmax())
    half = min(box["width"], box["height"]) / 2
    x = float(box["x"] + box["width"] / 2 + placed[cell, 0] * half)
    y = float(box["y"] + box["height"] / 2 - placed[cell, 1] * half)
    page.mouse.move(x - 40, y)
    page.mouse.move(x, y, steps=3)
    page.wait_for_function("!document.getElementById('tip').hidden")
    told = page.inner_text("#tip").split("\n")
    assert told[0] == cells.obs_names[cell]
    assert f"text_fused_leiden: {cells.obs['text_fused_leiden'].iloc[cell]}" in told
    assert f"kind: {cells.obs['kind'].iloc[cell]}" in told


def test_colors_by_labels_numbers_genes_and_words(open_page, cells):
    page = open_page().page
    offered = page.locator("#color option").all_inner_texts()
    assert {"kind", "donor", "number", "text_coverage", "g3", HARM, "oxidative stress"} <= set(offered)
    assert offered[0] == "text_fused_leiden"
    for name, low, high in (
        ("number", 3, 149),
        ("g3", 0, float(np.log1p(1e4 * cells.X[:, 3].toarray().ravel() / cells.X.sum(axis=1).A1).max())),
    ):
        page.select_option("#color", label=name)
        shown = [float(v.replace(",", "")) for v in page.locator(".ends span").all_inner_texts()]
        assert shown == pytest.approx([low, high], abs=0.006)
    page.select_option("#color", label="kind")
    sizes = dict(re.findall(r"(.+) (\d+)", page.inner_text("#legend")))
    assert sizes == {str(k): str(n) for k, n in cells.obs["kind"].value_counts().items()}


def test_search_shows_the_score_while_one_types_and_works_by_keyboard(open_page):
    page = open_page().page
    page.locator("#search").press_sequentially("oxid")
    page.wait_for_function("document.getElementById('map').dataset.color === 'oxidative stress'")
    page.fill("#search", "g")
    options = page.locator("#options li").all_inner_texts()
    assert any(o.endswith("gene") for o in options)
    page.press("#search", "ArrowDown")
    second = page.locator("#options li[aria-selected=true]").inner_text()
    page.press("#search", "Enter")
    page.wait_for_function("name => name.startsWith(document.getElementById('map').dataset.color)", arg=second)
    assert page.get_attribute("#search", "aria-expanded") == "false"
    page.fill("#search", "nothing of that name")
    assert "Nothing in this page" in page.inner_text("#options")


@pytest.mark.parametrize("query", ["", "?map=canvas"], ids=["webgl", "canvas"])
def test_lasso_reads_the_cells_inside(open_page, cells, query):
    seen = open_page(query)
    page = seen.page
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    page.click("#lasso")
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 3)
    page.mouse.down()
    right, bottom = box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    for x, y in ((right, box["y"] + 3), (right, bottom), (middle, bottom), (middle, box["y"] + 4)):
        page.mouse.move(x, y, steps=6)
    page.mouse.up()
    page.wait_for_function("document.getElementById('reading').innerText.includes('Selected cells')")
    points = cells.obsm["X_text_fused_umap"][:, 0]
    inside = points > (points.min() + points.max()) / 2
    names = [row[0] for row in seen.tsv(lambda: page.click("text=Cell names"))][1:]
    # Cells at the very border may fall on either side of a line drawn by pixels.
    assert len(set(names) ^ set(cells.obs_names[inside])) <= 3
    assert len(names) > 10
    share = f"{100 * len(names) / 150:.1f}".removesuffix(".0")
    assert f"{len(names)} cells, {share} % of those shown" in page.inner_text("#reading")


def test_a_group_is_read_and_two_are_compared(open_page, cells):
    seen = open_page()
    page = seen.page
    page.select_option("#color", label="kind")
    page.get_by_role("button", name=re.compile("A & B")).click()
    reading = page.inner_text("#reading")
    assert "kind: A & B" in reading
    assert "50 cells, 33.3 % of those shown" in reading
    page.click("summary:has-text('Compare')")
    page.select_option("#group-a", label="A & B")
    page.select_option("#group-b", label="<i>C</i>")
    page.click("#compare")
    button = page.get_by_role("button", name="Download all rows: Genes: A against B")
    rows = seen.tsv(button.click)
    assert rows[0] == ["Genes", "A", "B", "A − B", "Higher in A, donors"]
    log = np.log1p(1e4 * cells.X.toarray() / cells.X.sum(axis=1).A1[:, None])
    kind, donor = cells.obs["kind"].astype(str).to_numpy(), cells.obs["donor"].to_numpy()
    for name, a, b, difference, agreed in rows[1:]:
        values = log[:, cells.var_names.get_loc(name)]
        step = float(values.max()) / 254
        means = [values[kind == k].mean() for k in ("A & B", "<i>C</i>")]
        assert [float(a), float(b)] == pytest.approx(means, abs=step)
        assert float(difference) == pytest.approx(means[0] - means[1], abs=step)
        by_donor = [
            values[(kind == "A & B") & (donor == d)].mean() - values[(kind == "<i>C</i>") & (donor == d)].mean()
            for d in np.unique(donor)
        ]
        if min(np.abs(by_donor)) > step:
            assert agreed == f"{sum(d > 0 for d in by_donor)} of 5"


def test_tables_and_the_map_are_saved(open_page, cells):
    seen = open_page()
    page = seen.page
    made = cells.uns["lexicell"]["X_text_fused"]["cluster"]
    rows = seen.tsv(lambda: page.click("button[data-table=text_fused_cluster_markers]"))
    genes = [row[rows[0].index("gene")] for row in rows[1:]]
    assert genes == made["markers"]["gene"].tolist()
    shown = seen.tsv(page.get_by_role("button", name=re.compile("Download as TSV: .* clusters of 150")).click)
    assert [row[1] for row in shown[1:]] == [f"{n}" for n in made["table"]["cells"]]
    with page.expect_download() as found:
        page.click("#picture")
    assert Path(found.value.path()).read_bytes()[:4] == b"\x89PNG"


def test_dark(open_page):
    dark = open_page(color_scheme="dark").page
    light = open_page(color_scheme="light").page
    paper = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (dark, light)]
    assert paper == ["rgb(18, 22, 27)", "rgb(255, 255, 255)"]
    for page, lowest, highest in ((dark, 0, 60), (light, 240, 255)):
        page.wait_for_timeout(200)
        seen = np.asarray(Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB"))
        assert lowest <= seen[5, 5].min() <= seen[5, 5].max() <= highest
        assert seen.std() > 1


def test_400_pixels_are_enough(open_page):
    page = open_page(viewport={"width": 400, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main h2, main p, main button, main canvas, main .wide")]
        .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > 401)
        .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_print_shows_a_still_map_and_no_controls(open_page, tmp_path):
    page = open_page(color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.is_visible(".still img")
    assert not page.is_visible("#map")
    assert not page.is_visible("button >> nth=0")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    page.pdf(path=tmp_path / "r.pdf")
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "r.pdf").read_bytes())) <= 7


def test_the_page_is_named_for_screen_readers(open_page):
    page = open_page().page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")]
        .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.get_attribute("#map", "aria-label") == "Map of 150 cells, colored by text_fused_leiden"
    assert page.evaluate("document.querySelectorAll('main table:not(:has(caption))').length") == 0


def test_beyond_200_000_cells_a_sample_is_shown_and_said(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("lexicell._report._page_data.MOST_CELLS", 40)
    monkeypatch.setattr("lexicell._report._overview.MOST_CELLS", 40)
    adata = anndata.AnnData(sp.csr_matrix(np.random.default_rng(0).poisson(3, (60, 40)).astype(np.float32)))
    lx.emb.expression_pca(adata, n_components=5)
    adata.obsm["X_expression_umap"] = adata.obsm["X_expression"][:, :2]
    seen = Opened(browser, lx.report(adata, tmp_path / "r.html"))
    assert seen.page.evaluate("window.lexicell.n") == 40
    assert "A random 40 of 60 cells are carried in this page" in seen.page.inner_text("main")
    seen.context.close()
