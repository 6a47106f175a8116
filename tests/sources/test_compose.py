from __future__ import annotations

import pytest

from lexicell.sources._compose import compose, full_text, name_text
from lexicell.sources._gene_table import GeneTable


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("CHAT", "choline O-acetyltransferase"), "CHAT: choline O-acetyltransferase."),
        (("CHAT", "choline O-acetyltransferase", ["cytosol"]), "CHAT: choline O-acetyltransferase. cytosol."),
        (("CHAT", "a name", ["one", "two, three"]), "CHAT: a name. one; two, three."),
        (("CHAT", "", ["cytosol"]), "CHAT. cytosol."),
        (("CHAT", ""), ""),
    ],
    ids=["name", "one term", "two terms", "no name", "nothing"],
)
def test_compose(arguments: tuple[str, ...], text: str) -> None:
    assert compose(*arguments) == text  # type: ignore[arg-type]


def test_rows_of_a_table() -> None:
    table = GeneTable.from_rows(
        "human", [{"symbol": "A", "name": "alpha", "go": "GO:2|GO:1"}, {"symbol": "B", "name": "beta"}]
    )
    terms = {"GO:1": "one", "GO:2": "two"}
    assert [full_text(table, row, terms) for row in (0, 1)] == ["A: alpha. two; one.", "B: beta."]
    assert [name_text(table, row) for row in (0, 1)] == ["A: alpha.", "B: beta."]
