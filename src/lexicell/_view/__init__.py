"""The report, live: served to this machine's browser alone, scoring any phrase as it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["view"]


def view(
    adata: AnnData,
    *,
    use_rep: str | None = None,
    color: str | Sequence[str] = (),
    title: str = "Cells in words",
    port: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page of :func:`lexicell.report` on this machine, where it scores any phrase; until interrupted.

    Only 127.0.0.1 listens, and only requests that know the secret in the address and come from the page itself are
    answered. Phrases are embedded as in :func:`lexicell.tl.concepts`: by the embedder of the gene vectors.

    Parameters
    ----------
    adata
        An object that lexicell wrote to, with a text embedding.
    use_rep, color, title
        As in :func:`lexicell.report`.
    port
        Port to listen on; 0 for one that is free.
    say
        Called with the address.

    Raises
    ------
    MissingDependencyError
        If tornado is not installed.
    MissingKeyError
        If `use_rep`, a column, a gene or the gene vectors are not there.
    InputError
        If the object holds no text embedding, or the port cannot be used.
    """
    try:
        from ._server import bind, serve
    except ImportError as error:
        raise MissingDependencyError("viewing needs tornado: pip install 'lexicell[view]'") from error
    from .._report import live_page
    from ._scorer import PhraseScorer

    names = [color] if isinstance(color, str) else list(color)
    page, cells, text_key = live_page(adata, use_rep=use_rep, color=names, title=title, live="score")
    if not text_key:
        raise InputError("this object holds no text embedding, which phrases need; make one with lexicell.emb.cells")
    scorer = PhraseScorer(adata, cells, text_key)
    # The first phrase loads the embedder and compiles loops, which takes seconds.
    scorer.answer("cell")
    serve(bind(port), page, scorer.answer, say)
