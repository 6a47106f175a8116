"""Vulnerable against resistant cells: learned on some donors, scored on others, applied to further data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._errors import InputError, check_column, check_key, choices
from .._keys import X_TEXT, prefix
from .._results import check_rep, keep_results, recorded, stack_tables
from ..core.donors.design import StudyDesign
from ..core.transfer.classify import (
    LinearClassifier,
    auroc_interval,
    donor_p,
    fit_logistic,
    leave_one_donor_out,
    score_predictions,
)

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["classify_vulnerability"]

_METHOD = "logistic regression"


def classify_vulnerability(
    adata: AnnData,
    design: StudyDesign | None = None,
    *,
    positive: str | Sequence[str] = (),
    negative: str | Sequence[str] = (),
    label: str | None = None,
    model: LinearClassifier | AnnData | str | Path | None = None,
    use_rep: str = X_TEXT,
    penalty: float = 1.0,
    key_added: str = "classify_vulnerability",
    copy: bool = False,
) -> AnnData | None:
    """Learn to tell vulnerable from resistant cells and score it on held-out donors, or apply what was learned.

    A logistic regression on the representation; both classes have the same weight, and so do all donors of a class.
    Every cell is scored by a model that was fitted without its donor. Cells are never split at random: with cells of
    one donor in both halves, any classifier looks good.

    With `model`, nothing is learned: the classifier is applied to these cells.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``.
    design
        Donors and cell types: :class:`lexicell.StudyDesign`, of which ``donor`` and ``cell_type`` are used. Not with
        `model`.
    positive
        Value, or values, of the positive class, for example ``"vulnerable"`` or a list of vulnerable cell types.
    negative
        Values of the negative class. Default: all others. Cells with neither are left out.
    label
        Column of ``obs`` with these values, such as a vulnerability label. None: the cell types of `design`.
    model
        A classifier, a file of one, or the AnnData it was learned on (under `use_rep` and `key_added`).
    use_rep
        Key in ``obsm``. With `model`, in the same gene space as the one the classifier was learned in.
    penalty
        Strength of the L2 penalty.
    key_added
        Name of the result within ``uns["lexicell"][use_rep]``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obs["<prefix>_p_vulnerable"]``
        Probability of the positive class, float64, from the model without the cell's donor (NaN for cells that were
        left out), or from `model`. Between studies probabilities shift with batch; ranks within a study are safer.
    ``uns["lexicell"][use_rep][key_added]`` (without `model`)
        ``table``, one row: ``method``, ``auroc`` with ``auroc_low`` and ``auroc_high`` (95 % of draws of whole donors),
        ``average_precision``, ``brier``, ``calibration_error``, ``auroc_donor_mean``, and ``p``: if every donor has one
        label only, such as a condition, the share of permutations of the donors' labels, up to 99 besides the observed
        one, with an AUROC at least as large, each fitted anew on up to 20 cells per donor; NaN if labels differ within
        donors. Without signal and with few donors, the AUROC itself is often near .4. ``calibration``. ``model``:
        fitted on all donors. ``params``.

    Raises
    ------
    InputError
        If there is neither a design nor a model, a class is empty or has fewer than two donors; or if the classifier
        was learned in other dimensions, another gene space, or z-scores about different means.
    MissingKeyError
        If a column, the representation or the result of the model does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obs["donor"] = np.arange(adata.n_obs) % 4
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> design = lx.StudyDesign(cell_type="cell_type", donor="donor")
    >>> lx.tl.classify_vulnerability(adata, design, positive="CD19+ B", use_rep="X_expression")
    >>> table = adata.uns["lexicell"]["X_expression"]["classify_vulnerability"]["table"]
    >>> bool(table["auroc"].iloc[0] > 0.9)
    True
    >>> lx.tl.classify_vulnerability(adata, model=adata, use_rep="X_expression")
    >>> bool(adata.obs["expression_p_vulnerable"].between(0, 1).all())
    True
    """
    if (design is None) == (model is None):
        raise InputError("give either a design to learn from or the model= to apply")
    adata = adata.copy() if copy else adata
    C = check_rep(adata, use_rep)
    if model is not None:
        classifier = _read(model, use_rep, key_added)
        _check_space(adata, use_rep, classifier)
        adata.obs[f"{prefix(use_rep)}_p_vulnerable"] = classifier.probability(C)
        return adata if copy else None
    assert design is not None
    column = label or design.cell_type
    if column is None or not positive:
        raise InputError(
            "name the column with the classes (label=, or cell_type= of the design) and the positive= ones"
        )
    for name in (column, design.donor):
        check_column(adata.obs, name)
    used, y, who, names = _labels(adata, column, positive, negative, design.donor)
    about = {
        "use_rep": use_rep,
        "label": column,
        "positive": names[1],
        "negative": names[0],
        "space": _space(adata, use_rep),
        "moments": _moments(adata, use_rep),
        "lexicell": __version__,
        "penalty": float(penalty),
    }
    part = np.asarray(C[used], dtype=np.float64)
    fit = partial(fit_logistic, penalty=penalty)
    probability = leave_one_donor_out(part, y, who, fit)
    scores, curve = score_predictions(probability, y, who)
    low, high = auroc_interval(probability, y, who)
    row = {"method": _METHOD, "auroc_low": low, "auroc_high": high, "p": donor_p(part, y, who, fit), **scores}
    out = np.full(adata.n_obs, np.nan)
    out[used] = probability
    adata.obs[f"{prefix(use_rep)}_p_vulnerable"] = out
    result = {
        "table": stack_tables([pd.DataFrame([row])]),
        "calibration": stack_tables([curve.assign(method=_METHOD)]),
        # The scores above are of models without a donor; the one that is kept may use all of them.
        "model": fit_logistic(part, y, who, penalty=penalty, about=about).to_dict(),
        "params": {**about, "donor": design.donor},
    }
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def _check_space(adata: AnnData, use_rep: str, classifier: LinearClassifier) -> None:
    """Refuse cells whose axes, or whose zero, are not those that the classifier learned."""
    here, there = _space(adata, use_rep), str(classifier.about.get("space", ""))
    if here and there and here != there:
        raise InputError(
            "the two data sets were embedded in different gene spaces, whose axes mean different things; embed both "
            "with the same gene embedding and an unwhitened preset such as 'scelmo-wa', or put them into one object "
            "before lexicell.emb.cells"
        )
    moments, learned = _moments(adata, use_rep), str(classifier.about.get("moments", ""))
    if moments and learned and moments != learned:
        raise InputError(
            f"obsm['{use_rep}'] holds z-scores about the mean of these cells, but the classifier learned from z-scores "
            "about the mean of others, so its probabilities would mean nothing. First put these cells into the space "
            "it was learned in: lexicell.emb.project(adata, cells_it_was_learned_on, genes)"
        )


def _labels(
    adata: AnnData, label: str, positive: str | Sequence[str], negative: str | Sequence[str], donor: str
) -> tuple[Any, Any, Any, tuple[str, str]]:
    values = adata.obs[label].astype(object)
    wanted = [positive] if isinstance(positive, str) else [str(p) for p in positive]
    others = [negative] if isinstance(negative, str) else [str(n) for n in negative]
    text = values.map(str).where(values.notna(), None)
    levels = sorted({str(v) for v in text.dropna()})
    for level in [*wanted, *others]:
        check_key(level, levels, f"value in obs['{label}']")
    if set(wanted) & set(others):
        raise InputError(f"{choices(sorted(set(wanted) & set(others)))} cannot be both positive and negative")
    is_positive = text.isin(wanted).to_numpy()
    is_negative = (text.isin(others) if others else text.notna()).to_numpy() & ~is_positive
    # Cells of types that are neither positive nor negative would only shift the boundary.
    used = np.flatnonzero((is_positive | is_negative) & adata.obs[donor].notna().to_numpy())
    y, who = is_positive[used], adata.obs[donor].astype(str).to_numpy(dtype=object)[used]
    for name, of in (("positive", y), ("negative", ~y)):
        donors = len(set(who[of]))
        if donors < 2:
            raise InputError(
                f"the {name} class has cells of {donors} donors; two are needed, so that one can be left out and the "
                "class still be learned"
            )
    return used, y, who, (", ".join(others) or "all others", ", ".join(wanted))


def _space(adata: AnnData, use_rep: str) -> str:
    """Fingerprint of the axes of a representation; empty where nothing is recorded."""
    entry = recorded(adata, use_rep)
    # Whitened axes are estimated from the data, so two data sets have different ones even with the same texts.
    axes = entry.get("space", {}).get("V") if isinstance(entry.get("space"), dict) else entry.get("loadings")
    if axes is not None:
        return _fingerprint(axes)
    provenance = entry.get("provenance", {})
    preset = str(entry.get("params", {}).get("preset", ""))
    known = [str(provenance.get(k, "")) for k in ("embedder", "revision")]
    return "/".join([preset, *known]) if preset and any(known) else ""


def _moments(adata: AnnData, use_rep: str) -> str:
    """Fingerprint of the means and standard deviations that expression was z-scored with; empty where it was not."""
    entry = recorded(adata, use_rep)
    return _fingerprint(entry["mean"], entry["sd"]) if "mean" in entry and "sd" in entry else ""


def _fingerprint(*arrays: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _read(model: Any, use_rep: str, key: str) -> LinearClassifier:
    if isinstance(model, LinearClassifier):
        return model
    if isinstance(model, str | Path):
        return LinearClassifier.load(model)
    results = recorded(model, use_rep)
    check_key(key, [str(k) for k in results], f"result of '{use_rep}'")
    return LinearClassifier.from_dict(results[key]["model"])
