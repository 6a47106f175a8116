"""Gene Ontology terms of each human gene, in the order in which the text names them."""

from __future__ import annotations

from collections import Counter, defaultdict

from gene_inputs import Inputs

# Best evidence first. ND ("no data") says that nothing is known and is dropped.
TIERS = (
    {"EXP", "IDA", "IPI", "IMP", "IGI", "IEP"},  # one experiment, one gene
    {"HTP", "HDA", "HMP", "HGI", "HEP"},  # high-throughput experiments
    {"TAS", "IC", "NAS"},  # a curator's or an author's statement
    {"IBA", "IBD", "IKR", "IRD", "ISS", "ISO", "ISA", "ISM", "IGC", "RCA"},  # by similarity, read by a curator
    {"IEA"},  # by machine
)
TIER = {code: tier for tier, codes in enumerate(TIERS) for code in codes}
ASPECTS = ("bp", "mf", "cc")
# The three roots, and "protein binding", which is true of nearly every protein.
DROPPED = {"GO:0008150", "GO:0003674", "GO:0005575", "GO:0005515"}


def ordered_terms(inputs: Inputs) -> dict[str, list[str]]:
    """GeneID -> its direct terms: best evidence first; within one tier two processes, a function, a place in turn.

    Within a tier and an aspect the term with more kinds of evidence comes first, then the one fewer genes have, then
    the smaller id. org.Hs.eg.db has no qualifier column: annotations that deny a term are left out where it is built.
    """
    db = inputs.sqlite("r-bioc-org.hs.eg.db")
    evidence: dict[str, dict[tuple[int, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for number, aspect in enumerate(ASPECTS):
        for gene_id, term, code in db.execute(
            f"select gene_id, go_id, evidence from genes join go_{aspect} using (_id)"
        ):
            if code in TIER and term not in DROPPED:
                evidence[gene_id][number, term].add(code)
    genes_with = Counter(term for terms in evidence.values() for _, term in terms)
    return {gene_id: in_turn(terms, genes_with) for gene_id, terms in evidence.items()}


def in_turn(terms: dict[tuple[int, str], set[str]], genes_with: Counter[str]) -> list[str]:
    groups: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    for (aspect, term), codes in terms.items():
        tier = min(TIER[code] for code in codes)
        groups[tier, aspect].append((-len(codes), genes_with[term], term))
    order = []
    for (tier, aspect), group in groups.items():
        for place, (_, _, term) in enumerate(sorted(group)):
            turn = place // 2 if aspect == 0 else place
            order.append((tier, turn, aspect, place, term))
    return [term for *_, term in sorted(order)]


def term_names(inputs: Inputs) -> dict[str, str]:
    return dict(inputs.sqlite("r-bioc-go.db").execute("select go_id, term from go_term order by go_id"))


def fit(prefix_tokens: int, terms: list[str], tokens_of: dict[str, int], limit: int) -> list[str]:
    """The first terms that the model reads in full: each costs its own tokens and one mark of punctuation."""
    used, kept = prefix_tokens, []
    for term in terms:
        used += tokens_of[term] + 1
        if used > limit:
            break
        kept.append(term)
    return kept
