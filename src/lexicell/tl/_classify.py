"""Vulnerable against resistant cells, learned on some donors and tried on others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._errors import InputError, check_column, check_key, choices
from .._keys import X_TEXT, prefix
from .._results import check_rep, keep_results, recorded
from ..core.transfer.classify import (
    LinearClassifier,
    auroc_interval,
    donor_p,
    fit_contrastive,
    fit_logistic,
    leave_one_donor_out,
    score_predictions,
)

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["classify_vulnerability", "predict_vulnerability"]


def classify_vulnerability(
    adata: AnnData,
    *,
    label: str,
    positive: str | Sequence[str],
    donor: str,
    negative: Sequence[str] = (),
    use_rep: str = X_TEXT,
    penalty: float = 1.0,
    contrastive: bool = False,
    rng: int | np.random.Generator = 0,
    key_added: str = "classify_vulnerability",
    copy: bool = False,
) -> AnnData | None:
    """Learn to tell vulnerable from resistant cells, and score it on donors left out.

    A logistic regression on the representation; both classes, and all donors of a class, weigh the same. Every cell is
    scored by a model that saw nothing of its donor. Cells are never split at random: cells of one donor in both halves
    make any classifier look good.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``.
    label
        Column of ``obs``: a vulnerability label, or the cell types.
    positive
        Value, or values, of the positive class, for example ``"vulnerable"`` or a list of vulnerable cell types.
    donor
        Column of ``obs``.
    negative
        Values of the negative class. Default: all others. Cells with neither take no part.
    use_rep
        Key in ``obsm``.
    penalty
        Strength of the L2 penalty.
    contrastive
        Also evaluate a supervised-contrastive linear head with 15 nearest neighbors, the same way.
    rng
        Seed or generator of the head.
    key_added
        Name of the result within ``uns["lexicell"][use_rep]``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes ``obs["<prefix>_p_vulnerable"]`` (probability of the positive class from the model
    without the cell's donor; NaN for cells that took no part) and ``uns["lexicell"][use_rep][key_added]``: ``table``
    (one row a method: ``auroc`` with ``auroc_low`` and ``auroc_high`` (95 % of draws of whole donors),
    ``average_precision``, ``brier``, ``calibration_error``, ``auroc_donor_mean``, and ``p``: where every donor has one
    label only, such as a condition, the share of permutations of the donors' labels, up to 99 besides the observed one,
    with an AUROC at least as large, each fitted anew on up to 20 cells of a donor; without signal the AUROC itself
    lies anywhere around .4 with few donors; NaN where labels differ within donors), ``calibration``, ``model``
    (fitted on all donors; see :func:`predict_vulnerability`) and ``params``.

    Raises
    ------
    InputError
        If a class is empty, or one of them has fewer than two donors.
    MissingKeyError
        If a column or the representation does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obs["donor"] = np.arange(adata.n_obs) % 4
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.classify_vulnerability(
    ...     adata, label="cell_type", positive="CD19+ B", donor="donor", use_rep="X_expression"
    ... )
    >>> table = adata.uns["lexicell"]["X_expression"]["classify_vulnerability"]["table"]
    >>> bool(table["auroc"].iloc[0] > 0.9)
    True
    """
    adata = adata.copy() if copy else adata
    C = check_rep(adata, use_rep)
    for column in (label, donor):
        check_column(adata.obs, column)
    used, y, who, names = _labels(adata, label, positive, negative, donor)
    about = {
        "use_rep": use_rep, "label": label, "positive": names[1], "negative": names[0], "space": _space(adata, use_rep),
        "moments": _moments(adata, use_rep), "lexicell": __version__, "penalty": float(penalty),
    }  # fmt: skip
    part = np.asarray(C[used], dtype=np.float64)

    methods: dict[str, Any] = {"logistic regression": lambda X, t, d: fit_logistic(X, t, d, penalty=penalty)}
    if contrastive:
        seed = np.random.default_rng(rng).integers(2**31)
        methods["contrastive head, 15 neighbors"] = lambda X, t, d: fit_contrastive(X, t, d, rng=int(seed))
    rows, curves, main = [], [], np.zeros(0)
    for name, fit in methods.items():
        probability = leave_one_donor_out(part, y, who, fit)
        scores, calibration = score_predictions(probability, y, who)
        low, high = auroc_interval(probability, y, who)
        rows.append({"method": name, "auroc_low": low, "auroc_high": high, "p": donor_p(part, y, who, fit), **scores})
        curves.append(calibration.assign(method=name))
        main = probability if not len(main) else main
    table, curve = pd.DataFrame(rows), pd.concat(curves, ignore_index=True)
    for frame in (table, curve):
        frame["method"] = frame["method"].astype(object)
        frame.index = frame.index.astype(str)
    out = np.full(adata.n_obs, np.nan)
    out[used] = main
    adata.obs[f"{prefix(use_rep)}_p_vulnerable"] = out
    result = {
        "table": table,
        "calibration": curve,
        "model": fit_logistic(part, y, who, penalty=penalty, about=about).to_dict(),
        "params": {**about, "donor": donor, "contrastive": bool(contrastive)},
    }
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None


def predict_vulnerability(
    adata: AnnData,
    model: LinearClassifier | AnnData | str | Path,
    *,
    use_rep: str = X_TEXT,
    key: str = "classify_vulnerability",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Apply a classifier to cells of another data set.

    Parameters
    ----------
    adata
        Cells with ``obsm[use_rep]``, in the same gene space as those the classifier was fitted on.
    model
        A classifier, a file of one, or the AnnData that :func:`classify_vulnerability` was run on.
    use_rep
        Key in ``obsm``.
    key
        Name of the result, where `model` is an AnnData.
    key_added
        Column of ``obs``. Default: ``<prefix>_p_vulnerable``.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes the probability of the positive class, float64. Between studies probabilities shift
    with batch; ranks within a study are safer than the values.

    Raises
    ------
    InputError
        If the two representations differ in dimensions or in gene space, or were z-scored about different means.
    MissingKeyError
        If there is no such result.

    Examples
    --------
    >>> import numpy as np
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.obs["donor"] = np.arange(adata.n_obs) % 4
    >>> lx.emb.expression_pca(adata, library_size="n_counts")
    >>> lx.tl.classify_vulnerability(
    ...     adata, label="cell_type", positive=["CD19+ B"], donor="donor", use_rep="X_expression"
    ... )
    >>> lx.tl.predict_vulnerability(adata, adata, use_rep="X_expression", key_added="like_b")
    >>> bool(adata.obs["like_b"].between(0, 1).all())
    True
    """
    adata = adata.copy() if copy else adata
    C = check_rep(adata, use_rep)
    classifier = _read(model, use_rep, key)
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
            f"obsm['{use_rep}'] holds z-scores about the mean of its own cells, the classifier learned from z-scores "
            "about the mean of others, so its probabilities would say nothing; put these cells into the space it was "
            "learned in first: lexicell.emb.project(adata, cells_it_was_learned_on, genes)"
        )
    adata.obs[key_added or f"{prefix(use_rep)}_p_vulnerable"] = classifier.probability(C)
    return adata if copy else None


def _labels(
    adata: AnnData, label: str, positive: str | Sequence[str], negative: Sequence[str], donor: str
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
