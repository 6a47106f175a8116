"""lexicell transfer and lexicell annotate, from file to file."""

import anndata
import numpy as np
import pytest
from click.testing import CliRunner

import lexicell as lx
from lexicell.cli import cli, main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halves")
    adata = lx.datasets.pbmc68k_counts()
    adata[::2, ::2].copy().write_h5ad(folder / "one.h5ad")
    adata[1::2, 1::2].copy().write_h5ad(folder / "other.h5ad")
    (folder / "types.tsv").write_text("B cell\nT cell\nmonocyte\nnatural killer cell\ndendritic cell\n")
    return folder


def _run(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_labels_cross_and_a_model_does_the_same(files, tmp_path):
    slot = ["--library-size", "n_counts"]
    said = _run(
        "transfer", files / "one.h5ad", files / "other.h5ad", "--label", "cell_type", "--truth", "cell_type",
        "--save-model", tmp_path / "m.npz", "-o", tmp_path / "a.h5ad", *slot,
    )  # fmt: skip
    assert "0 shared genes" in said
    assert "recall" in said
    _run("transfer", tmp_path / "m.npz", files / "other.h5ad", "-o", tmp_path / "b.h5ad", *slot)
    one, other = (anndata.read_h5ad(tmp_path / f"{n}.h5ad") for n in "ab")
    assert (one.obs["text_transfer"].astype(str) == other.obs["text_transfer"].astype(str)).all()


def test_types_are_suggested(files, tmp_path):
    said = _run(
        "annotate", files / "one.h5ad", "--types", files / "types.tsv", "--groupby", "cell_type",
        "--library-size", "n_counts", "-o", tmp_path / "a.h5ad",
    )  # fmt: skip
    assert "suggested types" in said
    assert "text_suggested" in anndata.read_h5ad(tmp_path / "a.h5ad").obs


def test_descriptions_of_a_file_are_used(files, tmp_path, monkeypatch):
    from lexicell import embedders

    asked = []

    def made(texts, *_, **__):
        asked.extend(texts)
        return np.random.default_rng(0).normal(size=(len(texts), 384)).astype(np.float32)

    monkeypatch.setattr(embedders, "embed", made)
    monkeypatch.setattr(embedders, "cut_short", lambda *_: [])
    (tmp_path / "own.tsv").write_text("B cell\tmakes antibodies\nmy cell\tdoes what no other does\n\n")
    with pytest.warns(UserWarning, match="a word of these phrases is in no text"):
        _run("annotate", files / "one.h5ad", "--types", tmp_path / "own.tsv", "-o", tmp_path / "a.h5ad")
    assert asked == ["makes antibodies", "does what no other does"]


def test_the_embedding_there_gives_the_genes_and_the_key_is_the_users(files, tmp_path):
    adata = anndata.read_h5ad(files / "one.h5ad")
    genes = lx.emb.genes(adata)
    few = genes.subset(genes.ids[:200])
    lx.emb.cells(adata, few, library_size="n_counts", key_added="X_few")
    adata.write_h5ad(tmp_path / "few.h5ad")
    types = ["--types", files / "types.tsv"]
    _run(
        "annotate", tmp_path / "few.h5ad", *types, "--use-rep", "X_few", "--key-added", "guess",
        "-o", tmp_path / "a.h5ad",
    )  # fmt: skip
    kinds = [line for line in (files / "types.tsv").read_text().splitlines() if line]
    lx.tl.annotate(adata, kinds, use_rep="X_few", key_added="guess")
    made = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(made.obsm["guess"].to_numpy(), adata.obsm["guess"].to_numpy())
    assert made.uns["lexicell"]["guess"]["params"]["use_rep"] == "X_few"


def test_mistakes_are_one_line(files, tmp_path, capsys):
    (tmp_path / "types.tsv").write_text("B cell\n")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "annotate",
                str(files / "one.h5ad"),
                "--types",
                str(tmp_path / "types.tsv"),
                "-o",
                str(tmp_path / "a.h5ad"),
            ]
        )
    assert stop.value.code == 2
    assert "two or more distinct types" in capsys.readouterr().err
