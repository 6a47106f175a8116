"""E-utilities and Datasets, as a server on loopback plays them."""

from __future__ import annotations

import itertools
import json
import logging
from typing import Any

import pytest

from lexicell._errors import InputError, ProviderError
from lexicell.sources._http import Waits
from lexicell.sources._ncbi_web import NcbiWeb, RateLimit
from lexicell.sources._species import species
from lexicell.sources.ncbi import NcbiSource

HUMAN = species("human")
KEY = "0123456789abcdef0123456789abcdef0123"


def record(gene_id: str, symbol: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "uid": gene_id, "name": symbol, "description": name, "status": "", "currentid": "",
        "organism": {"scientificname": "Homo sapiens", "commonname": "human", "taxid": 9606},
        "otheraliases": "", "nomenclaturesymbol": symbol, "nomenclaturename": name, "summary": "", **more,
    }  # fmt: skip


GENES = {
    "6647": record("6647", "SOD1", "superoxide dismutase 1", otheraliases="ALS, ALS1",
                   summary="Removes superoxide. [provided by RefSeq, Jul 2008]"),
    "23435": record("23435", "TARDBP", "TAR DNA binding protein",
                    summary="Enables RNA binding. [provided by Alliance of Genome Resources, Jul 2025]"),
    "1565": record("1565", "CYP2D6", "cytochrome P450 family 2 subfamily D member 6"),
    "1564": record("1564", "CYP2D7", "cytochrome P450 family 2 subfamily D member 7", otheraliases="CYP2D6"),
    "11111": record("11111", "SODOLD", "old", currentid="11112", status="1"),
    "11112": record("11112", "SODOLD2", "older", currentid="6647", status="1"),
    "22222": record("22222", "GONE", "gone", status="1"),
    "33331": record("33331", "LOOP", "loop", currentid="33332"),
    "33332": record("33332", "LOOP", "loop", currentid="33331"),
    "999": {"uid": "999", "error": "cannot get document summary"},
    "4535": record("4535", "ND1", "NADH dehydrogenase", nomenclaturesymbol="MT-ND1"),
}  # fmt: skip


def esummary(seen: Any) -> bytes:
    ids = seen.form["id"][0].split(",")
    return json.dumps({"result": {"uids": ids, **{i: GENES[i] for i in ids if i in GENES}}}).encode()


def esearch(seen: Any) -> bytes:
    """Finds genes by symbol and by alias, as the real service does."""
    term = seen.form["term"][0]
    found = [
        i for i, g in GENES.items()
        if "name" in g and any(f'"{n}"[Gene Name]' in term for n in [g["name"], *g["otheraliases"].split(", ")] if n)
    ]  # fmt: skip
    return json.dumps({"esearchresult": {"count": str(len(found)), "idlist": found}}).encode()


def report(gene_id: str) -> dict[str, Any]:
    known = GENES[gene_id]
    text, _, credit = known["summary"].partition(" [")
    source = "RefSeq" if "RefSeq" in credit else "Alliance of Genome Resources"
    return {
        "gene_id": gene_id, "symbol": known["nomenclaturesymbol"], "description": known["description"],
        "tax_id": "9606", "taxname": "Homo sapiens", "type": "PROTEIN_CODING", "ensembl_gene_ids": ["ENSG00000142168"],
        "synonyms": [a for a in known["otheraliases"].split(", ") if a],
        **({"summary": [{"source": source, "description": text, "date": "2008-07-22"}]} if text else {}),
    }  # fmt: skip


@pytest.fixture
def eutils(server: Any, clock: Any) -> Any:
    server.files["/esummary.fcgi"] = esummary
    server.files["/esearch.fcgi"] = esearch
    return NcbiWeb(base_url=server.url, timeout=5, waits=Waits(tries=3, sleep=clock.sleep, now=clock),
                   limit=RateLimit(3, clock=clock, sleep=clock.sleep))  # fmt: skip


@pytest.fixture
def datasets(server: Any, clock: Any) -> Any:
    return NcbiWeb("datasets", base_url=server.url, timeout=5, waits=Waits(tries=3, sleep=clock.sleep, now=clock),
                   limit=RateLimit(3, clock=clock, sleep=clock.sleep))  # fmt: skip


class TestEutils:
    def test_genes_by_id_in_one_request(self, eutils, server):
        found = eutils.by_ids(["6647", "23435", "6647"])
        assert found["6647"].symbol == "SOD1"
        assert found["6647"].name == "superoxide dismutase 1"
        assert found["6647"].synonyms == ("ALS", "ALS1")
        assert (found["6647"].summary.text, found["6647"].summary.source) == ("Removes superoxide.", "RefSeq")
        assert found["23435"].summary.source == "Alliance of Genome Resources"
        assert [s.form["id"] for s in server.seen] == [["6647,23435"]]

    def test_the_official_symbol_is_used_where_it_differs(self, eutils):
        assert eutils.by_ids(["4535"])["4535"].symbol == "MT-ND1"
        assert eutils.by_ids(["4535"])["4535"].synonyms == ("ND1",)

    def test_replaced_ids_are_followed_to_the_end(self, eutils, server):
        found = eutils.by_ids(["11111", "6647"])
        assert (found["11111"].gene_id, found["11111"].asked) == ("6647", "11111")
        assert [s.form["id"] for s in server.seen] == [["11111,6647"], ["11112"], ["6647"]]

    def test_a_record_with_an_error_spoils_no_other(self, eutils):
        found = eutils.by_ids(["999", "6647", "22222", "424242", "33331"])
        assert list(found) == ["6647"]
        assert eutils.errors["999"] == "cannot get document summary"
        assert eutils.errors["22222"] == "discontinued without a successor"
        assert eutils.errors["424242"] == "no record with this GeneID"
        assert "replaced again and again" in eutils.errors["33331"]

    def test_many_ids_are_asked_for_in_batches(self, eutils, server, monkeypatch):
        monkeypatch.setattr("lexicell.sources._ncbi_web._AT_ONCE", 2)
        eutils.by_ids(["6647", "23435", "1565", "1564", "4535"])
        assert [s.form["id"][0].count(",") + 1 for s in server.seen] == [2, 2, 1]

    def test_a_symbol_finds_only_the_gene_of_exactly_that_symbol(self, eutils, server):
        found = eutils.by_symbols(["CYP2D6", "ALS1", "NOPE"], HUMAN)
        assert {symbol: gene.gene_id for symbol, gene in found.items()} == {"CYP2D6": "1565"}
        (search,) = server.requests("esearch.fcgi")
        assert "9606[Taxonomy ID]" in search.form["term"][0]
        assert "alive[prop]" in search.form["term"][0]

    def test_something_that_is_no_id(self, eutils):
        with pytest.raises(InputError, match=r"a GeneID is a number.*'SOD1'"):
            eutils.by_ids(["SOD1"])

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_passing_trouble_is_waited_out(self, eutils, server, sample, clock, status):
        server.fault("/esummary.fcgi", *[sample.Fault(status=status)] * 2)
        assert "6647" in eutils.by_ids(["6647"])
        assert [s for s in clock.slept if s >= 1] == [1.0, 2.0]

    def test_retry_after_is_honoured(self, eutils, server, sample, clock):
        server.fault("/esummary.fcgi", sample.Fault(status=429, headers={"Retry-After": "5"}))
        eutils.by_ids(["6647"])
        assert clock.slept == [5.0]

    @pytest.mark.parametrize(
        "body", [b"<html>", b"[]", b'{"error": "API rate limit exceeded"}'], ids=["html", "list", "error"]
    )
    def test_an_answer_that_makes_no_sense(self, eutils, server, sample, body):
        server.fault("/esummary.fcgi", sample.Fault(body=body))
        with pytest.raises(ProviderError, match=r"something other than JSON|API rate limit exceeded"):
            eutils.by_ids(["6647"])

    def test_a_server_that_stalls(self, server, sample):
        server.files["/esummary.fcgi"] = esummary
        server.fault("/esummary.fcgi", sample.Fault(cut_at=3, stall=1.0))
        web = NcbiWeb(base_url=server.url, timeout=0.2, waits=Waits(tries=1, sleep=lambda s: None))
        assert "6647" in web.by_ids(["6647"])


class TestDatasets:
    def test_genes_by_id(self, datasets, server):
        server.files["/gene/id/6647,23435/dataset_report"] = json.dumps(
            {"reports": [{"gene": report("6647")}, {"gene": report("23435")}], "total_count": 2}
        ).encode()
        found = datasets.by_ids(["6647", "23435"])
        assert found["6647"].summary.text == "Removes superoxide."
        assert found["23435"].summary.source == "Alliance of Genome Resources"
        assert found["6647"].ensembl == ("ENSG00000142168",)
        assert found["6647"].gene_type == "protein-coding"

    def test_a_replaced_id_is_followed(self, datasets, server):
        warning = {"gene_warning_code": "REPLACED_ID", "replaced_id": {"requested": "11111", "returned": "6647"}}
        server.files["/gene/id/11111/dataset_report"] = json.dumps(
            {"reports": [{"gene": report("6647"), "warnings": [warning], "query": ["11111"]}]}
        ).encode()
        assert datasets.by_ids(["11111"])["11111"].gene_id == "6647"

    def test_nothing_found(self, datasets, server):
        server.files["/gene/id/424242/dataset_report"] = b"{}"
        assert datasets.by_ids(["424242"]) == {}
        assert datasets.errors == {"424242": "no record with this GeneID"}

    def test_only_the_exact_symbol_is_kept(self, datasets, server):
        server.files["/gene/symbol/CYP2D6,NKX2-1/taxon/9606/dataset_report"] = json.dumps(
            {"reports": [{"gene": report("1564")}, {"gene": report("1565")}]}
        ).encode()
        assert [g.gene_id for g in datasets.by_symbols(["CYP2D6", "NKX2-1"], HUMAN).values()] == ["1565"]

    def test_pages_are_turned(self, datasets, server):
        def page(seen: Any) -> bytes:
            second = "page_token" in seen.query
            answer = {"reports": [{"gene": report("23435" if second else "6647")}]}
            return json.dumps(answer if second else {**answer, "next_page_token": "two"}).encode()

        server.files["/gene/id/6647,23435/dataset_report"] = page
        assert set(datasets.by_ids(["6647", "23435"])) == {"6647", "23435"}
        assert [s.query.get("page_token") for s in server.seen] == [None, ["two"]]

    def test_no_key_no_header(self, datasets, server):
        server.files["/gene/id/1/dataset_report"] = b"{}"
        datasets.by_ids(["1"])
        assert "api-key" not in server.seen[0].headers


class TestRateLimit:
    @pytest.mark.parametrize("per_second", [3, 10])
    def test_requests_keep_their_distance(self, clock, per_second):
        limit = RateLimit(per_second, clock=clock, sleep=clock.sleep)
        times = []
        for _ in range(25):
            limit()
            times.append(clock())
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert min(gaps) == pytest.approx(1 / per_second, rel=1e-6)
        assert max(sum(t <= x < t + 1 - 1e-6 for x in times) for t in times) <= per_second

    def test_slow_callers_do_not_wait(self, clock):
        limit = RateLimit(3, clock=clock, sleep=clock.sleep)
        for _ in range(5):
            limit()
            clock.now += 1
        assert clock.slept == []

    def test_the_limit_follows_the_key(self, monkeypatch):
        assert NcbiWeb().limit.gap == pytest.approx(1 / 3)
        monkeypatch.setenv("NCBI_API_KEY", KEY)
        assert NcbiWeb().limit.gap == pytest.approx(1 / 10)

    def test_repeated_requests_keep_it_too(self, eutils, server, sample, clock):
        server.fault("/esummary.fcgi", *[sample.Fault(status=503)] * 2)
        before = clock()
        eutils.by_ids(["6647"])
        assert clock() - before >= 3.0  # 1 s and 2 s of waiting are longer than the gap of a third


class TestKey:
    @pytest.mark.parametrize("api", ["eutils", "datasets"])
    def test_the_key_goes_into_the_request_and_nowhere_else(self, server, sample, monkeypatch, caplog, api):
        monkeypatch.setenv("NCBI_API_KEY", KEY)
        caplog.set_level(logging.DEBUG)
        web = NcbiWeb(api, base_url=server.url, timeout=5, waits=Waits(tries=1, sleep=lambda s: None))
        path = "/esummary.fcgi" if api == "eutils" else "/gene/id/6647/dataset_report"
        server.fault(path, sample.Fault(status=503), sample.Fault(status=400))
        server.files[path] = b"{}"
        with pytest.raises(ProviderError) as caught:
            web.by_ids(["6647"])
        sent = server.seen[0]
        assert sent.form.get("api_key", [sent.headers.get("api-key")]) == [KEY]
        error: BaseException | None = caught.value
        while error is not None:
            assert KEY not in f"{error!s}{error!r}"
            error = error.__cause__ or error.__context__
        assert KEY not in caplog.text
        assert KEY not in repr(web)
        assert KEY not in "".join(s.path + json.dumps(s.query) for s in server.seen)

    def test_the_key_is_not_in_provenance(self, server, monkeypatch):
        monkeypatch.setenv("NCBI_API_KEY", KEY)
        monkeypatch.setenv("LEXICELL_EUTILS_URL", server.url)
        server.files["/esummary.fcgi"], server.files["/esearch.fcgi"] = esummary, esearch
        found = NcbiSource(via="web").texts(["SOD1"], organism="human")
        assert KEY not in json.dumps(found.provenance)


class TestSource:
    @pytest.fixture
    def source(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> NcbiSource:
        monkeypatch.setenv("LEXICELL_EUTILS_URL", server.url)
        server.files["/esummary.fcgi"], server.files["/esearch.fcgi"] = esummary, esearch
        return NcbiSource(via="web", waits=Waits(tries=1, sleep=lambda s: None), timeout=5)

    def test_a_few_genes_without_any_file(self, source, server):
        names = ["SOD1", "23435", "CYP2D6", "ENSG00000142168.5", "NOPE-1"]
        found = source.texts(names, organism="human")
        assert list(found.texts) == [
            "SOD1: superoxide dismutase 1. Removes superoxide.",
            "",  # a number alone among symbols is not taken for a GeneID
            "CYP2D6: cytochrome P450 family 2 subfamily D member 6.",
            "SOD1: superoxide dismutase 1. Removes superoxide.",
            "",
        ]
        assert found.table["text_source"].tolist()[:1] == ["RefSeq summary"]
        assert {s.path for s in server.seen} <= {"/esummary.fcgi", "/esearch.fcgi"}

    def test_replaced_gene_ids(self, source):
        table = source.texts(["11111", "6647"], organism="human").table
        assert list(table["gene_id"]) == ["6647", "6647"]
        assert "replaced by 6647" in table["note"].iloc[0]

    def test_too_many_genes_are_sent_to_the_files(self, source, server):
        with pytest.raises(InputError, match=r"501 genes are too many.*via='files'"):
            source.texts([f"G{i}" for i in range(501)], organism="human")
        assert server.seen == []

    def test_what_is_asked_on_the_web_cannot_be_frozen(self, source, tmp_path):
        source.texts(["SOD1"], organism="human")
        with pytest.raises(InputError, match="use via='files'"):
            source.freeze(tmp_path)
