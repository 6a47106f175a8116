"""A few genes from NCBI's web services: E-utilities and Datasets.

For a whole data set the files are quicker and kinder: this is for a handful of names. Requests keep NCBI's limit of 3 a
second, or 10 with a key from the environment variable ``NCBI_API_KEY``. The key goes into the request and nowhere else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._errors import InputError, ProviderError, check_choice, choices
from ._http import Waits, agent, ask, shown
from ._ncbi_files import Summary, split_credit
from ._ncbi_origin import Facts
from ._resolve import bundled_match
from ._species import HUMAN, Species
from ._table import GeneTable

if TYPE_CHECKING:
    import httpx

__all__ = ["NcbiWeb", "RateLimit", "WebGene", "WebOrigin"]

EUTILS_URL = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
DATASETS_URL = "https://api.ncbi.nlm.nih.gov/datasets/v2"
_AT_ONCE = 100  # ids in one request: an address of about a thousand characters
_SYMBOLS_AT_ONCE = 25
_FEW = 500
_DEPTH = 5  # how far a chain of replaced GeneIDs is followed


class RateLimit:
    """Keeps requests a fixed time apart.

    Parameters
    ----------
    per_second
        Requests a second.
    clock, sleep
        Replaced in tests.
    """

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.gap = 1.0 / per_second
        self._clock, self._sleep = clock, sleep
        self._next = float("-inf")

    def __call__(self) -> None:
        """Wait until the next request may go out."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self.gap


@dataclass(frozen=True)
class WebGene:
    """What the web service says of one gene.

    Attributes
    ----------
    asked
        The GeneID that was asked for; `gene_id` is another where the record was replaced.
    """

    asked: str
    gene_id: str
    taxon: str
    symbol: str
    name: str
    gene_type: str = ""
    synonyms: tuple[str, ...] = ()
    ensembl: tuple[str, ...] = ()
    summary: Summary = field(default_factory=lambda: Summary("", "", ""))


class NcbiWeb:
    """Genes by GeneID or symbol.

    Parameters
    ----------
    api
        ``"eutils"`` or ``"datasets"``.
    base_url
        None: the environment variable ``LEXICELL_EUTILS_URL`` or ``LEXICELL_DATASETS_URL``, else NCBI's own.
    timeout
        Seconds without an answer after which the server counts as stalled.
    waits, limit
        How failures are repeated; the rate limit. None: NCBI's.

    Raises
    ------
    InputError
        If `api` is none of the two.

    Examples
    --------
    >>> from lexicell.sources._ncbi_web import NcbiWeb
    >>> NcbiWeb().api  # nothing is asked before the first call
    'eutils'
    """

    def __init__(
        self,
        api: str = "eutils",
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        waits: Waits | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self.api = check_choice(api, ["eutils", "datasets"], "NCBI web service")
        named = os.environ.get(f"LEXICELL_{api.upper()}_URL")
        self.base_url = (base_url or named or (EUTILS_URL if api == "eutils" else DATASETS_URL)).rstrip("/")
        self.timeout, self.waits = timeout, waits or Waits()
        self._key = os.environ.get("NCBI_API_KEY", "").strip()
        self.limit = limit or RateLimit(10 if self._key else 3, sleep=self.waits.sleep)
        self.errors: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"NcbiWeb({self.api!r}, base_url={shown(self.base_url)!r})"

    def by_ids(self, gene_ids: Iterable[str]) -> dict[str, WebGene]:
        """Genes by the GeneIDs asked for; a replaced record gives its successor.

        Ids without a record are left out; `errors` then says why.

        Raises
        ------
        ProviderError
            If the service refuses or keeps failing.
        """
        wanted = list(dict.fromkeys(gene_ids))
        wrong = [one for one in wanted if not one.isdigit()]
        if wrong:
            raise InputError(f"a GeneID is a number; these are none: {choices(wrong, limit=5)}")
        found: dict[str, WebGene] = {}
        pending = {one: one for one in wanted}  # asked -> the id to ask for now
        with self._client() as client:
            for _ in range(_DEPTH):
                if not pending:
                    break
                pending = self._round(client, pending, found)
        for asked, now in pending.items():
            self.errors[asked] = f"replaced again and again, last by {now}"
        return found

    def _round(self, client: httpx.Client, pending: Mapping[str, str], found: dict[str, WebGene]) -> dict[str, str]:
        """Ask for each pending id once; returns those whose record was replaced, with the successor."""
        ids = list(dict.fromkeys(pending.values()))
        records: dict[str, tuple[WebGene | None, str]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start : start + _AT_ONCE]
            records.update(self._summaries(client, part) if self.api == "eutils" else self._reports(client, part))
        moved = {}
        for asked, now in pending.items():
            gene, word = records.get(now, (None, "no answer for this GeneID"))
            if gene is not None:
                found[asked] = WebGene(**{**gene.__dict__, "asked": asked})
            elif word.isdigit():
                moved[asked] = word
            else:
                self.errors[asked] = word
        return moved

    def by_symbols(self, symbols: Iterable[str], kind: Species) -> dict[str, WebGene]:
        """Genes whose official symbol is exactly the one asked for; others are left out.

        The services also return genes that have the symbol as a synonym, or begin with it: those are dropped.
        """
        wanted = list(dict.fromkeys(symbols))
        found: dict[str, WebGene] = {}
        with self._client() as client:
            for start in range(0, len(wanted), _SYMBOLS_AT_ONCE):
                part = wanted[start : start + _SYMBOLS_AT_ONCE]
                search = self._search if self.api == "eutils" else self._search_datasets
                for gene in search(client, part, kind):
                    if gene.symbol in part and gene.taxon in ("", kind.taxon):
                        found.setdefault(gene.symbol, gene)
        return found

    def _client(self) -> httpx.Client:
        import httpx

        # Datasets takes the key as a header, and refuses an empty one.
        headers = {"User-Agent": agent(), **({"api-key": self._key} if self._key and self.api == "datasets" else {})}
        return httpx.Client(timeout=self.timeout, headers=headers, follow_redirects=True)

    def _ask(self, client: httpx.Client, path: str, params: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        url = f"{self.base_url}/{path}"
        if self.api == "eutils":
            form = {**(params or {}), "tool": "lexicell", **({"api_key": self._key} if self._key else {})}
            answer = ask(client, url, form=form, waits=self.waits, before=self.limit)
        else:
            answer = ask(client, url, params=params, waits=self.waits, before=self.limit)
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ProviderError(f"{shown(url)} answered with something other than JSON; try again later")
        return content

    def _summaries(self, client: httpx.Client, ids: Sequence[str]) -> dict[str, tuple[WebGene | None, str]]:
        answer = self._ask(client, "esummary.fcgi", {"db": "gene", "id": ",".join(ids), "retmode": "json"})
        records = answer.get("result")
        if not isinstance(records, dict):
            said = str(answer.get("error") or answer.get("esummaryresult") or "no result")
            raise ProviderError(f"{shown(self.base_url)}/esummary.fcgi: {said[:200]}")
        return {one: _from_summary(one, records.get(one)) for one in ids}

    def _search(self, client: httpx.Client, symbols: Sequence[str], kind: Species) -> list[WebGene]:
        names = " OR ".join(f'"{symbol}"[Gene Name]' for symbol in symbols if '"' not in symbol)
        term = f"({names}) AND {kind.taxon}[Taxonomy ID] AND alive[prop]"
        answer = self._ask(client, "esearch.fcgi", {"db": "gene", "term": term, "retmode": "json", "retmax": 500})
        ids = [str(one) for one in answer.get("esearchresult", {}).get("idlist", [])]
        found: list[WebGene] = []
        for start in range(0, len(ids), _AT_ONCE):
            records = self._summaries(client, ids[start : start + _AT_ONCE])
            found += [gene for gene, _ in records.values() if gene is not None]
        return found

    def _reports(self, client: httpx.Client, ids: Sequence[str]) -> dict[str, tuple[WebGene | None, str]]:
        genes, moved = {}, {}
        for report in self._pages(client, f"gene/id/{','.join(ids)}/dataset_report"):
            gene = report.get("gene")
            if isinstance(gene, Mapping):
                genes[str(gene.get("gene_id"))] = _from_report(gene)
            for warning in report.get("warnings") or ():
                change = warning.get("replaced_id") or {}
                moved[str(change.get("requested"))] = str(change.get("returned"))
        for one in ids:
            if one not in genes and moved.get(one) in genes:
                genes[one] = genes[moved[one]]
        return {one: (genes.get(one), moved.get(one, "no record with this GeneID")) for one in ids}

    def _search_datasets(self, client: httpx.Client, symbols: Sequence[str], kind: Species) -> list[WebGene]:
        names = ",".join(quote(symbol, safe="") for symbol in symbols if "," not in symbol)
        reports = self._pages(client, f"gene/symbol/{names}/taxon/{kind.taxon}/dataset_report")
        return [_from_report(report["gene"]) for report in reports if isinstance(report.get("gene"), Mapping)]

    def _pages(self, client: httpx.Client, path: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        token = ""
        while True:
            answer = self._ask(client, path, {"page_size": 500, **({"page_token": token} if token else {})})
            found += [report for report in answer.get("reports") or () if isinstance(report, Mapping)]
            token = str(answer.get("next_page_token") or "")
            if not token:
                return found


def _from_summary(gene_id: str, record: Any) -> tuple[WebGene | None, str]:
    """A record of esummary as (gene, ''), or (None, the GeneID that replaced it), or (None, what is wrong)."""
    if not isinstance(record, Mapping):
        return None, "no record with this GeneID"
    if record.get("error"):
        return None, str(record["error"])
    current = str(record.get("currentid") or "0")
    if current not in ("0", gene_id):
        return None, current
    if str(record.get("status") or "0") not in ("0", ""):
        return None, "discontinued without a successor"
    body, credit = split_credit(str(record.get("summary") or ""))
    # The web service does not say whose a summary is; the credit at its end does.
    source = credit.partition(",")[0].strip() or ("RefSeq" if body else "")
    symbol = str(record.get("nomenclaturesymbol") or record.get("name") or "")
    others = [str(record.get("name") or ""), *str(record.get("otheraliases") or "").split(", ")]
    return (
        WebGene(
            asked=gene_id,
            gene_id=gene_id,
            taxon=str((record.get("organism") or {}).get("taxid") or ""),
            symbol=symbol,
            name=str(record.get("nomenclaturename") or record.get("description") or "").rstrip("."),
            synonyms=tuple(name for name in dict.fromkeys(others) if name and name != symbol),
            summary=Summary(body, source if body else "", credit),
        ),
        "",
    )


def _from_report(gene: Mapping[str, Any]) -> WebGene:
    """A gene of a Datasets report."""
    given = gene.get("summary") or []
    best: Mapping[str, Any] = next(iter(given if isinstance(given, list) else [given]), {})
    body, credit = split_credit(str(best.get("description") or ""))
    gene_id = str(gene.get("gene_id") or "")
    return WebGene(
        asked=gene_id,
        gene_id=gene_id,
        taxon=str(gene.get("tax_id") or ""),
        symbol=str(gene.get("symbol") or ""),
        name=str(gene.get("description") or "").rstrip("."),
        gene_type=str(gene.get("type") or "").lower().replace("_", "-"),
        synonyms=tuple(str(name) for name in gene.get("synonyms") or ()),
        ensembl=tuple(str(one) for one in gene.get("ensembl_gene_ids") or ()),
        summary=Summary(body, str(best.get("source") or credit.partition(",")[0] or "RefSeq") if body else "", credit),
    )


class WebOrigin:
    """Facts about a few genes, looked up when asked for."""

    def __init__(self, *, timeout: float = 60.0, waits: Waits | None = None, web: NcbiWeb | None = None) -> None:
        self.web = web or NcbiWeb(timeout=timeout, waits=waits)

    def facts(self, names: Sequence[str], kind: Species, *, go: bool) -> Facts:
        """Facts about the genes behind `names`.

        Raises
        ------
        InputError
            If there are more than a few names.
        """
        if len(names) > _FEW:
            raise InputError(
                f"{len(names)} genes are too many for NCBI's web service (at most {_FEW}); use via='files', which "
                "downloads NCBI's files once"
            )
        known = bundled_match(names, kind.name)
        ids = {} if known is None else {n: i for n, i in zip(names, known["gene_id"], strict=True) if i}
        ids.update({name: name for name in names if name.isdigit()})
        left = [name for name in names if name not in ids and not name.startswith("ENS")]
        genes = list(self.web.by_symbols(left, kind).values())
        by_id = self.web.by_ids(ids.values())
        genes += [gene for gene in by_id.values() if gene.taxon in ("", kind.taxon)]
        humans = self._orthologues(genes, kind)
        own = _table(kind.name, genes, humans)
        return Facts(
            own=own,
            human=own if kind == HUMAN else _table(HUMAN.name, humans.values(), {}),
            history={asked: gene.gene_id for asked, gene in by_id.items() if gene.gene_id != asked},
            provenance={"snapshot": time.strftime("%Y-%m-%d", time.gmtime()), "base_url": shown(self.web.base_url)},
        )

    def _orthologues(self, genes: Sequence[WebGene], kind: Species) -> dict[str, WebGene]:
        """GeneID of a mouse or rat gene -> its human orthologue, as the bundled table pairs them."""
        known = None if kind == HUMAN else bundled_match([gene.gene_id for gene in genes], kind.name)
        if known is None:
            return {}
        from .bundled import load_table

        partner = load_table(kind.name).human_gene_id
        pairs = {
            gene.gene_id: partner[row]
            for gene, row in zip(genes, known["row"], strict=True)
            if row >= 0 and partner[row]
        }
        humans = self.web.by_ids(pairs.values())
        return {gene_id: humans[human] for gene_id, human in pairs.items() if human in humans}


def _table(organism: str, genes: Iterable[WebGene], humans: Mapping[str, WebGene]) -> GeneTable:
    rows = {
        gene.gene_id: {
            "gene_id": gene.gene_id,
            "symbol": gene.symbol,
            "name": gene.name,
            "gene_type": gene.gene_type,
            "synonyms": "|".join(gene.synonyms),
            "ensembl": "|".join(gene.ensembl),
            "human_gene_id": humans[gene.gene_id].gene_id if gene.gene_id in humans else "",
            "summary": gene.summary.text,
            "summary_source": gene.summary.source,
            "summary_credit": gene.summary.credit,
        }
        for gene in genes
    }
    columns = ("summary", "summary_source", "summary_credit")
    table = GeneTable.from_rows(organism, rows.values())
    table.extra.update({column: table.extra.get(column, []) for column in columns})
    return table
