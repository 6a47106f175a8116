"""How the folder of a model says one vector is made of a text: pooling, unit length, longest text.

Reads JSON files only, so that the length of the vectors is known without loading a model. Folders of
sentence-transformers carry the answer in ``modules.json`` and ``1_Pooling/config.json``; a bare BERT does not, and gets
the mean over its tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import InputError, check_choice

__all__ = ["POOLINGS", "Recipe", "read_recipe"]

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len")

# As sentence-transformers writes them in 1_Pooling/config.json.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
}
# Their position numbers start behind the padding's, so two of the positions are not for tokens.
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "xlm-roberta-xl")


@dataclass(frozen=True)
class Recipe:
    """What happens to the last layer of a model.

    Attributes
    ----------
    hidden
        Width of the last layer.
    pooling
        One or more of `POOLINGS`; several are joined end to end.
    unit
        Whether vectors are scaled to unit length.
    max_tokens
        Tokens read of a text, the marks around it included.
    lower
        Whether texts are lowered before they reach the tokenizer.
    prompt
        What the model wants before each text; empty for most.
    """

    hidden: int
    pooling: tuple[str, ...]
    unit: bool
    max_tokens: int
    lower: bool
    prompt: str

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.hidden * len(self.pooling)

    @property
    def mark(self) -> str:
        """Short spelling of everything that changes a vector, e.g. ``mean-256-unit``."""
        words = ["+".join(self.pooling), str(self.max_tokens)]
        words += ["unit"] if self.unit else []
        words += ["lower"] if self.lower else []
        words += ["prompt"] if self.prompt else []
        return "-".join(words)


def read_recipe(folder: Path, *, pooling: str | None = None, max_tokens: int | None = None) -> Recipe:
    """Read the recipe of a model's folder; `pooling` and `max_tokens` override what it says.

    Raises
    ------
    InputError
        If the folder holds no model, or wants something that is not known here.
    """
    config = _json(folder / "config.json")
    if config is None:
        raise InputError(f"{folder} holds no config.json, so it is no folder of a transformers model")
    hidden = config.get("hidden_size", config.get("dim"))
    if not isinstance(hidden, int):
        raise InputError(
            f"{folder / 'config.json'} states no hidden_size; only models with one vector per token can be used"
        )
    sentence: dict[str, Any] = _json(folder / "sentence_bert_config.json") or {}
    poolings, unit, prompt = _modules(folder, hidden)
    if pooling is not None:
        poolings = (check_choice(pooling, POOLINGS, "pooling"),)
    longest = _longest(folder, config)
    wanted = max_tokens or sentence.get("max_seq_length") or longest
    if max_tokens is not None and max_tokens > longest:
        raise InputError(f"max_tokens={max_tokens} is more than the {longest} tokens the model can read")
    lower = bool(sentence.get("do_lower_case", False))
    return Recipe(hidden, poolings, unit, min(int(wanted), longest), lower, prompt)


def _modules(folder: Path, hidden: int) -> tuple[tuple[str, ...], bool, str]:
    modules = _json(folder / "modules.json")
    if modules is None:
        return ("mean",), False, ""
    poolings: tuple[str, ...] = ("mean",)
    unit = False
    include_prompt = True
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            settings: dict[str, Any] = _json(folder / module["path"] / "config.json") or {}
            poolings = _poolings(settings, folder)
            include_prompt = bool(settings.get("include_prompt", True))
            expected = settings.get("word_embedding_dimension", hidden)
            if expected != hidden:
                raise InputError(
                    f"{folder}: the pooling expects {expected} numbers per token, the model gives {hidden}"
                )
        elif kind == "Normalize":
            unit = True
        elif kind != "Transformer":
            raise InputError(
                f"{folder} has a step '{kind}' after the model, which lexicell does not know; "
                "serve it with a server of OpenAI's protocol and use 'http:URL#MODEL'"
            )
    prompts: dict[str, Any] = _json(folder / "config_sentence_transformers.json") or {}
    prompt = str((prompts.get("prompts") or {}).get(prompts.get("default_prompt_name") or "", ""))
    if prompt and not include_prompt:
        raise InputError(f"{folder} wants a prompt that does not count in the pooling, which lexicell does not know")
    return poolings, unit, prompt


def _poolings(settings: dict[str, Any], folder: Path) -> tuple[str, ...]:
    named = settings.get("pooling_mode")  # newer folders write one word, or words joined by '+'
    if isinstance(named, str):
        found = [name.removesuffix("_tokens").removesuffix("_token") for name in named.split("+")]
    else:
        found = [
            _SWITCHES.get(key, key) for key, on in settings.items() if key.startswith("pooling_mode_") and on is True
        ]
        # The order in which sentence-transformers joins them.
        found.sort(key=lambda name: list(_SWITCHES.values()).index(name) if name in _SWITCHES.values() else 99)
    unknown = [name for name in found if name not in POOLINGS]
    if unknown:
        raise InputError(f"{folder} pools by '{unknown[0]}', which lexicell does not know; choose another by pooling=")
    return tuple(found) or ("mean",)


def _longest(folder: Path, config: dict[str, Any]) -> int:
    positions = config.get("max_position_embeddings", 512)
    if config.get("model_type") in _SHIFTED_POSITIONS:
        positions -= 2
    tokenizer: dict[str, Any] = _json(folder / "tokenizer_config.json") or {}
    # Where it was not set, it is a huge number.
    return int(min(positions, tokenizer.get("model_max_length") or positions))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
