"""A file server on loopback that misbehaves on demand, and files in NCBI's formats to serve.

All rows and sentences of the sample were written for these tests; only symbols and numbers are real.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass
class Fault:
    """What goes wrong with one answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # bytes of the body after which the connection is dropped
    stall: float = 0.0  # seconds of silence, after `cut_at` bytes if given
    length: int | None = None  # a Content-Length that lies
    body: bytes | None = None
    no_range: bool = False  # answer with the whole file whatever range is asked for


@dataclass
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    form: dict[str, list[str]]
    at: float


class FileServer:
    """Serves `files`, path -> bytes or a function of the request; `faults` are used up one a request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[Seen], bytes]] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.seen: list[Seen] = []
        self.etags: dict[str, str] = {}
        self.last_modified: str | None = "Mon, 06 Jan 2025 03:00:00 GMT"
        self.ranges = True
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self, path: str, *faults: Fault) -> None:
        self.faults.setdefault(path, []).extend(faults)

    def requests(self, end: str) -> list[Seen]:
        return [one for one in self.seen if one.path.endswith(end)]

    def etag(self, path: str, body: bytes) -> str:
        return self.etags.get(path, f'"{hashlib.sha256(body).hexdigest()[:16]}"')


class _Handler(BaseHTTPRequestHandler):
    owner: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, form: str) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(parts.query)
        seen = Seen(self.command, parts.path, query, headers, parse_qs(form), time.monotonic())
        self.owner.seen.append(seen)
        queue = self.owner.faults.get(parts.path, [])
        fault = queue.pop(0) if queue else Fault()
        known = self.owner.files.get(parts.path)
        if fault.status >= 300 or known is None:
            self._send(fault.status if fault.status >= 300 else 404, fault.headers, fault.body or b"no", fault)
            return
        body = fault.body if fault.body is not None else known(seen) if callable(known) else known
        extra = dict(fault.headers)
        etag = self.owner.etag(parts.path, body)
        if etag:
            extra.setdefault("ETag", etag)
        if self.owner.last_modified:
            extra.setdefault("Last-Modified", self.owner.last_modified)
        wanted, guard = headers.get("range", ""), headers.get("if-range", "")
        fits = guard in ("", etag, self.owner.last_modified)
        if wanted and fits and self.owner.ranges and not fault.no_range:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                extra["Content-Range"] = f"bytes */{len(body)}"
                self._send(416, extra, b"", fault)
                return
            extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(206, extra, body[start:], fault)
            return
        self._send(200, extra, body, fault)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if fault.length is None else fault.length))
        if fault.cut_at is not None or fault.length is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        try:
            self.wfile.write(body if fault.cut_at is None else body[: fault.cut_at])
            self.wfile.flush()
            if fault.stall:
                time.sleep(fault.stall)
        except OSError:
            self.close_connection = True


@pytest.fixture
def server() -> Iterator[FileServer]:
    one = FileServer()
    yield one
    one.close()


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1_736_150_400.0  # 2025-01-06
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- files in NCBI's formats -------------------------------------------------------------------------------------

INFO = [
    "#tax_id", "GeneID", "Symbol", "LocusTag", "Synonyms", "dbXrefs", "chromosome", "map_location", "description",
    "type_of_gene", "Symbol_from_nomenclature_authority", "Full_name_from_nomenclature_authority",
    "Nomenclature_status", "Other_designations", "Modification_date", "Feature_type",
]  # fmt: skip
SUMMARY = ["#tax_id", "GeneID", "Source", "Summary"]
HISTORY = ["#tax_id", "GeneID", "Discontinued_GeneID", "Discontinued_Symbol", "Discontinue_Date"]
ENSEMBL = [
    "#tax_id", "GeneID", "Ensembl_gene_identifier", "RNA_nucleotide_accession.version", "Ensembl_rna_identifier",
    "protein_accession.version", "Ensembl_protein_identifier",
]  # fmt: skip
ORTHOLOGS = ["#tax_id", "GeneID", "relationship", "Other_tax_id", "Other_GeneID"]
GO = ["#tax_id", "GeneID", "GO_ID", "Evidence", "Qualifier", "GO_term", "PubMed", "Category"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = "\n".join("\t".join(map(str, row)) for row in (header, *rows)) + "\n"
    return gzip.compress(text.encode(), mtime=0)


def info(taxon: int, gene_id: int, symbol: str, name: str, *, official: str = "", kind: str = "protein-coding",
         synonyms: str = "-", xrefs: str = "-", tag: str = "-") -> list[str]:  # fmt: skip
    """One line of gene_info; `official` stands where a nomenclature authority has another symbol."""
    known = official or symbol
    full = "-" if symbol.startswith("LOC") else name
    return [
        str(taxon), str(gene_id), symbol, tag, synonyms, xrefs, "1", "1p", name, kind, "-" if full == "-" else known,
        full, "O", "-", "20250101", "-",
    ]  # fmt: skip


HUMAN_GENES = [
    info(9606, 6647, "SOD1", "superoxide dismutase 1", synonyms="ALS|ALS1|SOD",
         xrefs="MIM:147450|HGNC:HGNC:11179|Ensembl:ENSG00000142168|AllianceGenome:HGNC:11179"),
    info(9606, 23435, "TARDBP", "TAR DNA binding protein", synonyms="ALS10|TDP-43", xrefs="HGNC:HGNC:11571"),
    info(9606, 4735, "SEPTIN2", "septin 2", synonyms="DIFF6|NEDD5|SEPT2", xrefs="HGNC:HGNC:7729"),
    info(9606, 1565, "CYP2D6", "cytochrome P450 family 2 subfamily D member 6", synonyms="CPD6|SHARED-NAME"),
    info(9606, 1564, "CYP2D7", "cytochrome P450 family 2 subfamily D member 7", synonyms="SHARED-NAME|CYP2D6"),
    info(9606, 2029, "ENSA", "endosulfine alpha"),
    info(9606, 4535, "ND1", "mitochondrially encoded NADH dehydrogenase 1", official="MT-ND1", synonyms="MTND1"),
    info(9606, 8623, "ASMTL", "acetylserotonin O-methyltransferase like", xrefs="Ensembl:ENSG00000169093"),
    info(9606, 105378914, "LOC105378914", "uncharacterized LOC105378914", kind="ncRNA"),
    info(9606, 90000001, "OLDG", "old gene of the sample"),
    info(9606, 127396236, "LOC127396236", "a regulatory region", kind="biological-region"),
    info(9606, 90000009, "NEWENTRY", "Record to support submission of GeneRIFs", kind="other"),
]  # fmt: skip
MOUSE_GENES = [
    info(10090, 20655, "Sod1", "superoxide dismutase 1, soluble", xrefs="MGI:MGI:98351"),
    info(10090, 230908, "Tardbp", "TAR DNA binding protein", xrefs="MGI:MGI:2387629"),
    info(10090, 18000, "Septin2", "septin 2", synonyms="Nedd5|Sept2"),
    info(10090, 80000001, "Mus1", "mouse gene of the sample"),
    info(10090, 80000002, "Mus2", "second mouse gene of the sample"),
]
PIG_GENES = [info(9823, 70000001, "SOD1", "superoxide dismutase 1"), info(9823, 70000002, "PIG2", "pig gene 2")]
LIZARD_GENES = [info(28377, 60000001, "sod1", "superoxide dismutase 1")]

SUMMARIES = [
    [9606, 6647, "Alliance of Genome Resources",
     "Enables superoxide dismutase activity. [provided by Alliance of Genome Resources, Jul 2025]"],
    [9606, 6647, "RefSeq",
     "This enzyme binds copper and zinc and removes superoxide. Some forms cause motor neuron disease. "
     "[provided by RefSeq, Jul 2008]."],
    [9606, 23435, "Alliance of Genome Resources",
     "Enables RNA binding activity. [provided by Alliance of Genome Resources, Jul 2025]"],
    [9606, 1565, "RefSeq", "An enzyme of the liver that changes many drugs.[provided by RefSeq, Aug 2017]"],
    [9606, 4535, "OMIM", "A part of complex I (Doe et al., 2001 [PubMed 1]).[supplied by OMIM, Nov 2010]"],
    [10090, 20655, "Alliance of Genome Resources",
     "Orthologous to human SOD1. [provided by Alliance of Genome Resources, Jul 2025]"],
    [10090, 230908, "RefSeq", "A mouse protein that binds RNA. [provided by RefSeq, Dec 2014]"],
    [10090, 80000001, "RefSeq", "Known in the mouse alone. [provided by RefSeq, Dec 2014]"],
]  # fmt: skip
HISTORY_ROWS = [
    [9606, 6647, 11111, "SODOLD", 20050101],
    [9606, 11111, 11110, "SODOLDER", 20040101],
    [9606, "-", 22222, "GONE", 20100101],
    [10090, 20655, 33333, "Sodx", 20100101],
]
ENSEMBL_ROWS = [
    [9606, 6647, "ENSG00000142168", "NM_000454.5", "ENST00000270142.11", "NP_000445.1", "ENSP00000270142.7"],
    [9606, 23435, "ENSG00000120948", "NM_007375.4", "ENST00000240185.8", "NP_031401.1", "ENSP00000240185.4"],
    [9606, 23435, "ENSG00000120948", "NM_1.1", "ENST00000000001.1", "-", "-"],
    [10090, 20655, "ENSMUSG00000022982", "NM_011434.2", "ENSMUST00000023707.11", "NP_035564.1", "-"],
]
ORTHOLOG_ROWS = [
    [9606, 6647, "Ortholog", 9823, 70000001],
    [9606, 6647, "Ortholog", 10090, 20655],
    [9606, 6647, "Ortholog", 28377, 60000001],
    [9606, 23435, "Ortholog", 10090, 230908],
    [9606, 4735, "Ortholog", 10090, 18000],
    [9606, 1564, "Ortholog", 10090, 80000002],
    [9606, 1565, "Ortholog", 10090, 80000002],
]
GO_ROWS = [
    [9606, 6647, "GO:0006801", "IDA", "involved_in", "superoxide metabolic process", "1", "Process"],
    [9606, 6647, "GO:0005507", "IDA", "enables", "copper ion binding", "2", "Function"],
    [9606, 6647, "GO:0005507", "IEA", "enables", "copper ion binding", "-", "Function"],
    [9606, 6647, "GO:0099999", "IDA", "NOT involved_in", "denied process", "3", "Process"],
    [9606, 6647, "GO:0003674", "ND", "enables", "molecular_function", "-", "Function"],
    [9606, 2029, "GO:0005737", "IDA", "located_in", "cytoplasm", "4", "Component"],
    [10090, 230908, "GO:0003723", "IDA", "enables", "RNA binding", "5", "Function"],
]

_MAMMALIA, _VERTEBRATES = "/GENE_INFO/Mammalia", "/GENE_INFO/Non-mammalian_vertebrates"


def ncbi_files(**changed: Sequence[Sequence[str]]) -> dict[str, bytes]:
    """NCBI's folder DATA; `changed` replaces the rows of human, mouse, summaries, history or orthologs."""
    human, mouse = changed.get("human", HUMAN_GENES), changed.get("mouse", MOUSE_GENES)
    return {
        f"{_MAMMALIA}/Homo_sapiens.gene_info.gz": table(INFO, human),
        f"{_MAMMALIA}/Mus_musculus.gene_info.gz": table(INFO, mouse),
        f"{_MAMMALIA}/Sus_scrofa.gene_info.gz": table(INFO, PIG_GENES),
        "/gene_info.gz": table(INFO, [*human, *mouse, *LIZARD_GENES]),
        "/gene_summary.gz": table(SUMMARY, changed.get("summaries", SUMMARIES)),
        "/gene_history.gz": table(HISTORY, changed.get("history", HISTORY_ROWS)),
        "/gene2ensembl.gz": table(ENSEMBL, ENSEMBL_ROWS),
        "/gene_orthologs.gz": table(ORTHOLOGS, changed.get("orthologs", ORTHOLOG_ROWS)),
        "/gene2go.gz": table(GO, GO_ROWS),
    }


@pytest.fixture
def ncbi(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A server with the sample, which sources use without being told."""
    server.files.update(ncbi_files())
    monkeypatch.setenv("LEXICELL_NCBI_URL", server.url)
    return server


def as_json(content: object) -> bytes:
    return json.dumps(content).encode()


@pytest.fixture(scope="session")
def sample() -> Any:
    """Functions and rows to make other files from."""
    import types

    return types.SimpleNamespace(
        Fault=Fault, Seen=Seen, table=table, info=info, ncbi_files=ncbi_files, as_json=as_json, HUMAN_GENES=HUMAN_GENES,
        MOUSE_GENES=MOUSE_GENES, SUMMARIES=SUMMARIES, HISTORY_ROWS=HISTORY_ROWS, INFO=INFO, SUMMARY=SUMMARY,
    )  # fmt: skip
