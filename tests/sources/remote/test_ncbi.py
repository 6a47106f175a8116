"""From a server with files in NCBI's formats to gene texts, each name accounted for."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from lexicell._download import Waits
from lexicell._errors import InputError, ProviderError
from lexicell.sources import get
from lexicell.sources.ncbi import NcbiSource
from lexicell.store import cache_dir

SOD1 = "SOD1: superoxide dismutase 1. This enzyme binds copper and zinc and removes superoxide. Some forms cause motor neuron disease."  # noqa: E501  # fmt: skip


def make(clock: Any = None, **options: Any) -> NcbiSource:
    waits = Waits(tries=2, sleep=lambda s: None, **({"now": clock} if clock else {}))
    return NcbiSource(**{"waits": waits, "timeout": 5, **options})


def one(source: NcbiSource, name: str, organism: str = "human") -> dict[str, Any]:
    found = source.texts([name], organism=organism)
    return {**found.table.iloc[0].to_dict(), "text": found.texts[0]}


class TestTexts:
    def test_the_text_is_symbol_name_and_refseq_summary_without_its_credit(self, ncbi):
        found = one(make(), "SOD1")
        assert found["text"] == SOD1
        assert found["gene_id"] == found["text_gene_id"] == "6647"
        assert found["matched_by"] == "symbol"
        assert found["text_source"] == "RefSeq summary"
        assert found["summary_source"] == "RefSeq"
        assert found["summary_credit"] == "RefSeq, Jul 2008"
        assert found["words"] == len(SOD1.split())

    def test_the_alliance_is_second_choice_and_named(self, ncbi):
        found = one(make(), "TARDBP")
        assert found["text"] == "TARDBP: TAR DNA binding protein. Enables RNA binding activity."
        assert found["text_source"] == "Alliance summary"
        assert found["summary_source"] == "Alliance of Genome Resources"

    def test_refseq_is_preferred_whatever_the_order_of_the_rows(self, ncbi, sample):
        ncbi.files.update(sample.ncbi_files(summaries=list(reversed(sample.SUMMARIES))))
        assert one(make(), "SOD1")["summary_source"] == "RefSeq"

    def test_credits_within_brackets_and_paper_numbers_are_taken_off(self, ncbi):
        found = one(make(), "MT-ND1")
        assert found["text"].endswith("A part of complex I (Doe et al., 2001).")
        assert found["summary_credit"] == "OMIM, Nov 2010"

    def test_a_gene_without_summary_has_its_name(self, ncbi):
        found = one(make(), "ENSA")
        assert found["text"] == "ENSA: endosulfine alpha."
        assert (found["text_source"], found["summary_source"]) == ("name", "")

    def test_a_gene_of_which_nothing_is_known_has_no_text(self, ncbi):
        found = one(make(), "LOC105378914")
        assert found["text"] == ""
        assert found["gene_id"] == "105378914"
        assert found["text_source"] == found["text_gene_id"] == ""
        assert "no text" in found["note"]

    def test_an_unknown_name_gets_an_empty_row(self, ncbi):
        found = make().texts(["SOD1", "NOT-A-GENE", "SOD1"], organism="human")
        assert list(found.table.index) == ["SOD1", "NOT-A-GENE", "SOD1"]
        assert list(found.texts) == [SOD1, "", SOD1]
        row = found.table.iloc[1]
        assert row["note"]
        assert (row.drop(["note", "words", "snapshot"]) == "").all()

    def test_the_columns_of_the_contract_are_there(self, ncbi):
        table = make().texts(["SOD1"], organism="human").table
        assert list(table.columns) == [
            "gene_id", "symbol", "name", "gene_type", "matched_by", "note", "text_source", "text_gene_id",
            "summary_source", "summary_credit", "snapshot", "words",
        ]  # fmt: skip

    def test_go_terms_are_added_on_request_without_not_and_nd(self, ncbi):
        found = one(make(include_go=True), "SOD1")
        assert found["text"] == f"{SOD1} superoxide metabolic process; copper ion binding."
        assert found["text_source"] == "RefSeq summary and GO terms"
        assert ncbi.requests("gene2go.gz") != []
        assert "denied process" not in found["text"]

    def test_go_is_not_downloaded_where_it_is_not_wanted(self, ncbi):
        one(make(), "SOD1")
        assert ncbi.requests("gene2go.gz") == []

    def test_go_can_be_asked_for_after_a_snapshot_was_made_without(self, ncbi):
        one(make(), "SOD1")
        before = len(ncbi.seen)
        assert "copper ion binding" in one(make(include_go=True), "SOD1")["text"]
        assert [s.path for s in ncbi.seen[before:]] == ["/gene2go.gz"]


class TestMapping:
    @pytest.mark.parametrize(
        ("name", "gene_id", "matched_by"),
        [
            ("ENSG00000142168", "6647", "ensembl"),
            ("ENSG00000142168.17", "6647", "ensembl"),
            ("ENSG00000120948", "23435", "ensembl"),
            ("ENSG00000169093_PAR_Y", "8623", "ensembl"),
            ("ENSA", "2029", "symbol"),
            ("ALS1", "6647", "synonym"),
            ("SEPT2", "4735", "synonym"),
            ("2-Sep", "4735", "synonym"),
            ("CYP2D6", "1565", "symbol"),
            ("ND1", "4535", "synonym"),
            ("MT-ND1", "4535", "symbol"),
            ("SODOLD", "6647", "previous"),
            ("LOC105378914", "105378914", "symbol"),
        ],
    )
    def test_a_name_finds_its_gene(self, ncbi, name, gene_id, matched_by):
        found = one(make(), name)
        assert (found["gene_id"], found["matched_by"]) == (gene_id, matched_by)

    def test_gene_ids_are_found_and_discontinued_ones_followed(self, ncbi):
        table = make().texts(["6647", "11111", "11110", "22222", "424242"], organism="human").table
        assert list(table["gene_id"]) == ["6647", "6647", "6647", "", ""]
        assert "replaced by 6647" in table["note"].iloc[1]
        assert "no successor" in table["note"].iloc[3]

    def test_an_ambiguous_synonym_is_not_guessed(self, ncbi):
        found = one(make(), "SHARED-NAME")
        assert found["gene_id"] == ""
        assert "CYP2D6" in found["note"]
        assert "CYP2D7" in found["note"]

    @pytest.mark.parametrize("name", ["LOC127396236", "NEWENTRY"])
    def test_regions_and_placeholders_are_no_genes(self, ncbi, name):
        assert one(make(), name)["gene_id"] == ""

    def test_what_the_files_leave_open_is_tried_with_the_bundled_table(self, ncbi, monkeypatch):
        import pandas as pd

        def known(names: list[str], organism: str) -> Any:
            rows = {"OTHERNAME": (0, "6647", "SOD1", "previous", "now SOD1")}
            columns = ["row", "gene_id", "symbol", "matched_by", "note"]
            return pd.DataFrame([rows.get(n, (-1, "", "", "", "")) for n in names], columns=columns, index=names)

        monkeypatch.setattr("lexicell.sources.names.lookup.bundled_match", known)
        found = one(make(), "OTHERNAME")
        assert (found["gene_id"], found["matched_by"], found["text"]) == ("6647", "previous", SOD1)
        assert "bundled table" in found["note"]


class TestSpecies:
    def test_a_mouse_gene_with_a_refseq_summary_speaks_for_itself(self, ncbi):
        found = one(make(), "Tardbp", "mouse")
        assert found["text"] == "Tardbp: TAR DNA binding protein. A mouse protein that binds RNA."
        assert found["text_gene_id"] == "230908"
        assert found["text_source"] == "RefSeq summary"

    def test_a_thin_mouse_gene_has_the_human_orthologues_text_and_says_so(self, ncbi):
        found = one(make(), "Sod1", "mouse")
        assert found["text"] == SOD1
        assert (found["gene_id"], found["symbol"], found["text_gene_id"]) == ("20655", "Sod1", "6647")
        assert found["text_source"] == "human orthologue: RefSeq summary"
        assert found["note"] == "text of the human orthologue SOD1 (GeneID 6647)"

    def test_a_name_is_as_good_as_the_orthologues_name(self, ncbi):
        found = one(make(), "Septin2", "mouse")
        assert found["text"] == "Septin2: septin 2."
        assert found["text_gene_id"] == "18000"

    def test_of_several_orthologues_one_is_taken_and_their_number_noted(self, ncbi, sample):
        human = [[9606, 1564, "RefSeq", "The lower GeneID."], [9606, 1565, "RefSeq", "The higher GeneID."]]
        ncbi.files.update(sample.ncbi_files(summaries=human))
        found = one(make(template="summary"), "Mus2", "mouse")
        assert found["text"] == "The lower GeneID."
        assert found["note"] == "text of the human orthologue CYP2D7 (GeneID 1564), one of 2"

    def test_the_orthologue_of_the_same_symbol_comes_before_the_lowest_number(self, ncbi, sample):
        pairs = [[9606, 1564, "Ortholog", 10090, 20655], [9606, 6647, "Ortholog", 10090, 20655]]
        ncbi.files.update(sample.ncbi_files(orthologs=pairs))
        assert one(make(), "Sod1", "mouse")["text_gene_id"] == "6647"

    def test_rows_with_the_species_on_the_left_count_too(self, ncbi, sample):
        ncbi.files.update(sample.ncbi_files(orthologs=[[10090, 20655, "Ortholog", 9606, 6647]]))
        assert one(make(), "Sod1", "mouse")["text_gene_id"] == "6647"

    def test_other_relations_than_orthology_do_not_count(self, ncbi, sample):
        ncbi.files.update(sample.ncbi_files(orthologs=[[9606, 6647, "Related pseudogene", 10090, 20655]]))
        assert one(make(), "Sod1", "mouse")["text_gene_id"] == "20655"

    def test_mouse_ensembl_ids_and_history(self, ncbi):
        table = make().texts(["ENSMUSG00000022982.5", "33333", "20655"], organism="mouse").table
        assert list(table["gene_id"]) == ["20655", "20655", "20655"]

    @pytest.mark.parametrize("organism", ["pig", "Sus scrofa", "9823", "sus_scrofa", "PIG"])
    def test_other_species_by_any_name(self, ncbi, organism):
        found = one(make(), "SOD1", organism)
        assert (found["gene_id"], found["text_gene_id"], found["text"]) == ("70000001", "6647", SOD1)

    def test_a_species_without_a_file_of_its_own_is_read_from_that_of_all(self, ncbi):
        found = one(make(), "sod1", "28377")
        assert (found["gene_id"], found["text_gene_id"]) == ("60000001", "6647")
        assert len(ncbi.requests("/gene_info.gz")) == 1

    def test_a_missing_species_file_falls_back_to_that_of_all(self, ncbi):
        del ncbi.files["/GENE_INFO/Mammalia/Mus_musculus.gene_info.gz"]
        assert one(make(), "Tardbp", "mouse")["gene_id"] == "230908"

    def test_an_unknown_species_lists_those_known(self, ncbi):
        with pytest.raises(InputError, match=r"unknown organism 'unicorn'.*'mouse'.*Taxonomy number"):
            make().texts(["X"], organism="unicorn")
        assert ncbi.seen == []

    def test_a_taxon_without_genes(self, ncbi):
        with pytest.raises(InputError, match="no genes of taxon 999"):
            make().texts(["X"], organism="999")


class TestTemplates:
    def test_a_named_template(self, ncbi):
        assert one(make(template="genept"), "SOD1")["text"].startswith("Gene Symbol SOD1 This enzyme")

    def test_only_summaries(self, ncbi):
        found = make(template="summary").texts(["SOD1", "ENSA"], organism="human")
        assert list(found.texts) == [SOD1.split(". ", 1)[1], ""]

    def test_max_words(self, ncbi):
        found = one(make(max_words=5), "SOD1")
        assert found["text"] == "SOD1: superoxide dismutase 1. This"
        assert found["words"] == 5

    def test_masked_words_leave_and_are_recorded(self, ncbi):
        source = make(mask_terms=["copper", "Motor Neuron disease", "oxide"])
        found = source.texts(["SOD1"], organism="human")
        assert found.texts[0] == (
            "SOD1: superoxide dismutase 1. This enzyme binds and zinc and removes superoxide. Some forms cause."
        )
        assert found.provenance["mask_terms"] == "Motor Neuron disease|copper|oxide"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"template": "{symbol} {sumary}"}, r"no field '\{sumary\}'.*'summary'"),
            ({"template": "no field"}, "no field in braces"),
            ({"template": "{symbol}[ {name}"}, "bracket without its partner"),
            ({"template": "{symbol}[ [{name}]]"}, "bracket without its partner"),
            ({"max_words": 0}, "at least 1, not 0"),
            ({"mask_terms": "copper"}, r"pass \['copper'\]"),
            ({"refresh": True, "offline": True}, "cannot go with offline"),
            ({"uniprot": "no-such-file.tsv"}, "no file 'no-such-file.tsv'"),
        ],
    )
    def test_an_option_that_cannot_be_used(self, options, message):
        with pytest.raises(InputError, match=message):
            NcbiSource(**options)

    def test_the_registry_knows_the_source(self):
        assert isinstance(get("ncbi", max_words=3), NcbiSource)
        with pytest.raises(InputError, match="does not take these options"):
            get("ncbi", max_word=3)


class TestSnapshots:
    def test_a_second_use_asks_the_server_nothing(self, ncbi):
        first = make().texts(["SOD1"], organism="human")
        ncbi.seen.clear()
        again = make().texts(["SOD1"], organism="human")
        assert ncbi.seen == []
        assert again.provenance == first.provenance
        assert list(again.texts) == list(first.texts)

    def test_the_manifest_names_every_file_with_date_size_and_hash(self, ncbi, clock):
        make(clock).texts(["SOD1"], organism="human")
        folder = cache_dir() / "ncbi" / "2025-01-06"
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["snapshot"] == "2025-01-06"
        assert sorted(manifest["files"]) == [
            "Homo_sapiens.gene_info.gz", "gene2ensembl.gz", "gene_history.gz", "gene_summary.gz",
        ]  # fmt: skip
        for name, entry in manifest["files"].items():
            raw = (folder / name).read_bytes()
            assert entry["sha256"] == hashlib.sha256(raw).hexdigest()
            assert entry["size"] == len(raw)
            assert entry["url"].startswith(ncbi.url)
            assert entry["last_modified"] == ncbi.last_modified
            assert entry["retrieved"] == "2025-01-06"

    def test_provenance_says_all_that_is_needed(self, ncbi, clock):
        found = make(clock, max_words=50).texts(["SOD1", "ENSA"], organism="human")
        known = found.provenance
        assert known["snapshot"] == "2025-01-06"
        assert known["template"].startswith("{symbol}")
        assert known["max_words"] == 50
        assert known["texts_sha256"] == hashlib.sha256("\n".join(found.texts).encode()).hexdigest()
        assert set(known["files"]) == set(json.loads(_manifest().read_text())["files"])

        def plain(value: Any) -> bool:
            if isinstance(value, dict):
                return all(isinstance(k, str) and "/" not in k and plain(v) for k, v in value.items())
            return isinstance(value, str | int | float | bool)

        assert plain(known)

    def test_another_species_joins_the_snapshot_and_changes_nothing_for_the_first(self, ncbi):
        before = make().texts(["SOD1"], organism="human").provenance
        ncbi.seen.clear()
        make().texts(["Sod1"], organism="mouse")
        assert sorted(s.path.rpartition("/")[2] for s in ncbi.seen) == [
            "Mus_musculus.gene_info.gz", "gene_orthologs.gz",
        ]  # fmt: skip
        assert make().texts(["SOD1"], organism="human").provenance == before

    def test_refresh_makes_a_new_snapshot_once(self, ncbi, sample, clock):
        make(clock).texts(["SOD1"], organism="human")
        ncbi.files.update(sample.ncbi_files(summaries=[[9606, 6647, "RefSeq", "A newer text."]]))
        assert one(make(clock), "SOD1")["text"] == SOD1
        source = make(clock, refresh=True)
        assert one(source, "SOD1")["text"] == "SOD1: superoxide dismutase 1. A newer text."
        asked = len(ncbi.seen)
        assert one(source, "ENSA")["snapshot"] == "2025-01-06.2"
        assert len(ncbi.seen) == asked
        assert one(make(clock), "SOD1")["text"].endswith("A newer text.")
        assert one(make(clock, snapshot="2025-01-06"), "SOD1")["text"] == SOD1
        with pytest.raises(InputError, match=r"no snapshot '1999-01-01'.*'2025-01-06.2', '2025-01-06'"):
            one(make(clock, snapshot="1999-01-01"), "SOD1")

    def test_ids_discontinued_between_two_snapshots_are_followed(self, ncbi, sample):
        symbols, ids = ["OLDG", "SOD1"], ["90000001", "6647"]
        assert list(make().texts(symbols, organism="human").table["gene_id"]) == ["90000001", "6647"]
        assert list(make().texts(ids, organism="human").table["gene_id"]) == ["90000001", "6647"]
        human = [row for row in sample.HUMAN_GENES if row[1] != "90000001"]
        human.append(sample.info(9606, 90000002, "NEWG", "new gene of the sample"))
        merged = [*sample.HISTORY_ROWS, [9606, 90000002, 90000001, "OLDG", 20250201]]
        ncbi.files.update(sample.ncbi_files(human=human, history=merged))
        new = make(refresh=True).texts(symbols, organism="human")
        assert list(new.table["gene_id"]) == ["90000002", "6647"]
        assert new.table["matched_by"].iloc[0] == "previous"
        assert new.texts[0] == "NEWG: new gene of the sample."
        followed = make().texts(ids, organism="human").table
        assert list(followed["gene_id"]) == ["90000002", "6647"]
        assert "GeneID 90000001 was replaced by 90000002" in followed["note"].iloc[0]

    def test_offline_with_an_empty_cache(self, ncbi):
        with pytest.raises(InputError, match=r"no snapshot of NCBI Gene .*offline forbids.*run once without offline"):
            make(offline=True).texts(["SOD1"], organism="human")
        assert ncbi.seen == []

    def test_offline_with_a_snapshot(self, ncbi):
        make().texts(["SOD1"], organism="human")
        ncbi.close()
        assert one(make(offline=True), "SOD1")["text"] == SOD1

    def test_offline_without_the_species(self, ncbi):
        make().texts(["SOD1"], organism="human")
        with pytest.raises(InputError, match=r"has no gene_orthologs.gz, and offline forbids"):
            make(offline=True).texts(["Sod1"], organism="mouse")

    def test_an_interrupted_snapshot_is_gone_on_with_also_by_refresh(self, ncbi, sample):
        ncbi.fault("/gene_history.gz", *[sample.Fault(status=503)] * 9)
        with pytest.raises(ProviderError, match=r"gene_history.gz: HTTP status 503"):
            make().texts(["SOD1"], organism="human")
        ncbi.faults.clear()
        ncbi.seen.clear()
        assert one(make(refresh=True), "SOD1")["text"] == SOD1
        assert ncbi.requests("gene_summary.gz") == []
        assert len(list((cache_dir() / "ncbi").glob("*/manifest.json"))) == 1

    def test_several_at_once_make_one_snapshot(self, ncbi):
        found: list[dict[str, Any]] = []
        threads = [threading.Thread(target=lambda: found.append(one(make(), "SOD1"))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row["text"] for row in found] == [SOD1] * 5
        assert len({row["snapshot"] for row in found}) == 1
        assert len(ncbi.seen) == len({s.path for s in ncbi.seen}) == 4

    def test_a_broken_connection_in_the_middle_of_it_all(self, ncbi, sample):
        ncbi.fault("/gene_summary.gz", sample.Fault(cut_at=100))
        assert one(make(), "SOD1")["text"] == SOD1
        assert ncbi.requests("gene_summary.gz")[1].headers["range"] == "bytes=100-"

    def test_a_damaged_table_in_the_cache_is_refused_with_the_remedy(self, ncbi):
        make().texts(["SOD1"], organism="human")
        path = _manifest().parent / "tables" / "genes_9606.tsv.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"copper", b"silver")))
        with pytest.raises(InputError, match=r"genes_9606.*hash differs; pass refresh=True"):
            make().texts(["SOD1"], organism="human")

    def test_tables_of_an_older_layout_are_made_anew_from_the_files(self, ncbi):
        make().texts(["SOD1"], organism="human")
        manifest = json.loads(_manifest().read_text())
        _manifest().write_text(json.dumps({**manifest, "layout": 0}))
        ncbi.seen.clear()
        assert one(make(offline=True), "SOD1")["text"] == SOD1
        assert ncbi.seen == []

    def test_another_base_url_has_snapshots_of_its_own(self, ncbi, clock):
        one(make(clock), "SOD1")
        with pytest.raises(InputError, match="no snapshot"):
            make(clock, base_url="http://127.0.0.1:9", offline=True).texts(["SOD1"], organism="human")

    @pytest.mark.parametrize(
        ("body", "message"),
        [(b"#tax_id\tGeneID\tText\n9606\t1\tx\n", "without Source, Summary"), (b"9606\t1\tRefSeq\tx\n", "first line")],
        ids=["columns-missing", "no-header"],
    )
    def test_a_file_of_another_kind_is_recognized(self, ncbi, body, message):
        ncbi.files["/gene_summary.gz"] = gzip.compress(body)
        with pytest.raises(InputError, match=message):
            make().texts(["SOD1"], organism="human")

    def test_columns_are_found_by_name_wherever_they_stand(self, ncbi, sample):
        rows = [[row[0], row[3], row[2], "new", row[1]] for row in sample.SUMMARIES]
        ncbi.files["/gene_summary.gz"] = sample.table(["#tax_id", "Summary", "Source", "Extra", "GeneID"], rows)
        assert one(make(), "SOD1")["text"] == SOD1

    def test_blocks_are_joined_without_losing_a_row(self, ncbi, sample, monkeypatch):
        monkeypatch.setattr("lexicell.sources.ncbi.files._BLOCK", 37)
        assert one(make(), "SOD1")["text"] == SOD1
        assert one(make(), "Tardbp", "mouse")["summary_source"] == "RefSeq"

    def test_a_taxon_number_that_begins_with_another_is_kept_apart(self, ncbi, sample):
        summaries = [[96, 6647, "RefSeq", "wrong"], [96060, 6647, "RefSeq", "wrong"], *sample.SUMMARIES]
        ncbi.files.update(sample.ncbi_files(summaries=summaries))
        assert one(make(), "SOD1")["text"] == SOD1


class TestCopied:
    def test_a_copied_snapshot_gives_the_same_texts_without_server_and_ncbis_files(self, ncbi, tmp_path, monkeypatch):
        names = ["Sod1", "Tardbp", "ENSMUSG00000022982.5", "nothing"]
        options = {"include_go": True, "max_words": 12, "mask_terms": ["zinc"]}
        before = make(**options).texts(names, organism="mouse")
        ncbi.close()
        made = _manifest().parent
        there = tmp_path / "there" / "ncbi" / made.name
        shutil.copytree(made, there, ignore=shutil.ignore_patterns("gene*.gz", "*.gene_info.gz"))
        shutil.copytree(made / "tables", there / "tables", dirs_exist_ok=True)
        monkeypatch.setenv("LEXICELL_CACHE_DIR", str(tmp_path / "there"))
        after = make(offline=True, **options).texts(names, organism="mouse")
        assert list(after.texts) == list(before.texts)
        assert after.provenance == before.provenance
        assert after.table.equals(before.table)

    @pytest.mark.parametrize("victim", ["genes_9606.tsv.gz", "history_9606.tsv.gz"])
    def test_a_changed_table_is_found_out(self, ncbi, victim):
        make().texts(["SOD1"], organism="human")
        path = _manifest().parent / "tables" / victim
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"6647", b"6648")))
        with pytest.raises(InputError, match=r"hash differs; .*copy the folder again"):
            make(offline=True).texts(["SOD1"], organism="human")

    def test_a_table_cut_short_is_found_out(self, ncbi):
        make().texts(["SOD1"], organism="human")
        path = _manifest().parent / "tables" / "genes_9606.tsv.gz"
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(InputError, match=r"genes_9606.tsv.gz cannot be read"):
            make().texts(["SOD1"], organism="human")

    def test_no_table_depends_on_the_machines_compressor(self, ncbi):
        make().texts(["SOD1"], organism="human")
        path = _manifest().parent / "tables" / "genes_9606.tsv.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
        assert one(make(), "SOD1")["text"] == SOD1


def _manifest() -> Path:
    (path,) = (cache_dir() / "ncbi").glob("*/manifest.json")
    return path
