"""The help page of all commands, an example for each, and what people type instead of a command's name."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["EXAMPLES", "SECTIONS", "Commands", "example_of"]

SECTIONS = {
    "Start here": ("demo", "run", "view", "inspect", "doctor"),
    "Embed": ("genes", "coverage", "embed"),
    "Analyze": (
        "cluster",
        "concepts",
        "vulnerability",
        "classify-vulnerability",
        "trajectory",
        "trends",
        "progression",
        "annotate",
        "transfer",
    ),
    "Explain": ("explain", "perturb", "programs", "evaluate"),
    "Files": ("report", "embedders", "cache"),
}

# Every example is parsed by a test.
EXAMPLES = {
    "demo": ["lexicell demo"],
    "run": [
        "lexicell run cells.h5ad --cell-type cell_type -o results",
        "lexicell run cells.h5ad --cell-type cell_type --condition disease --reference control --donor donor "
        "-o results",
        "lexicell run results/study.toml --resolution 2",
    ],
    "view": ["lexicell view results/cells.h5ad"],
    "inspect": ["lexicell inspect filtered_feature_bc_matrix"],
    "doctor": ["lexicell doctor"],
    "genes": ["lexicell genes cells.h5ad --embedder openai:text-embedding-3-large --estimate-cost -o genes.h5ad"],
    "coverage": ["lexicell coverage cells.h5ad -o coverage.tsv"],
    "embed": [
        "lexicell embed cells.h5ad --preset whitened -o embedded.h5ad",
        "lexicell embed large.h5ad --stream -o embedded.zarr",
    ],
    "cluster": ["lexicell cluster cells.h5ad --use-rep X_text_fused -o clustered.h5ad"],
    "concepts": ["lexicell concepts cells.h5ad -q 'axonal transport' --groupby cell_type -o concepts.tsv"],
    "vulnerability": [
        "lexicell vulnerability cells.h5ad --cell-type cell_type --condition disease --reference control "
        "--donor donor -o vulnerability"
    ],
    "classify-vulnerability": [
        "lexicell classify-vulnerability cells.h5ad --cell-type cell_type --donor donor --positive 'motor neuron' "
        "-o classifier"
    ],
    "trajectory": ["lexicell trajectory cells.h5ad --root markers:CD34 -o ordered.h5ad"],
    "trends": ["lexicell trends ordered.h5ad --query differentiation -o trends.h5ad"],
    "progression": ["lexicell progression ordered.h5ad --condition stage --donor donor -o progression.h5ad"],
    "annotate": ["lexicell annotate cells.h5ad --groupby cluster -o annotated.h5ad"],
    "transfer": ["lexicell transfer labeled.h5ad cells.h5ad --label cell_type -o labels.h5ad"],
    "explain": ["lexicell explain cells.h5ad --groupby cell_type -o genes.tsv"],
    "perturb": ["lexicell perturb cells.h5ad -t SOD1 --groupby cell_type -o without_sod1.tsv"],
    "programs": ["lexicell programs cells.h5ad -o programs.tsv"],
    "evaluate": ["lexicell evaluate cells.h5ad --label cell_type -o evaluation.tsv"],
    "report": ["lexicell report results/cells.h5ad --color cell_type -o report.html"],
    "embedders": ["lexicell embedders --download local"],
    "cache": ["lexicell cache info"],
}

# What people type -> the command.
_GUESSES = {
    "help": "--help",
    "start": "demo",
    "analyze": "run",
    "pipeline": "run",
    "info": "inspect",
    "check": "inspect",
    "embedding": "embed",
    "leiden": "cluster",
    "umap": "cluster",
    "markers": "explain",
    "de": "vulnerability",
    "score": "concepts",
    "search": "concepts",
    "query": "concepts",
    "pseudotime": "trajectory",
    "knockout": "perturb",
    "label": "annotate",
    "html": "report",
    "models": "embedders",
}


def example_of(command: str) -> str:
    """The first example of a command; empty where there is none."""
    return next(iter(EXAMPLES.get(command, ())), "")


class Commands(click.Group):
    """A group whose help page has sections, and which knows other names of its commands."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with its examples at the end of its help page."""
        super().add_command(cmd, name)
        examples = EXAMPLES.get(str(cmd.name), ())
        if examples:
            # \b keeps lines as they are.
            cmd.epilog = "\n\n".join(["Examples:", *(f"\b\n  {example}" for example in examples)])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section; those of no section last."""
        placed = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in self.commands if name not in placed)
        for title, names in {**SECTIONS, "Other": rest}.items():
            rows = [(name, self.commands[name].get_short_help_str(70)) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=24)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; where there is none, name the one that does what was asked for."""
        meant = _GUESSES.get(args[0].lower())
        if meant and args[0] not in self.commands:
            ctx.fail(f"No such command '{args[0]}'. Try 'lexicell {meant}'")
        return super().resolve_command(ctx, args)
