"""Where the files of the workflow lie, relative to the folder that it runs in."""

from __future__ import annotations

from collections.abc import Mapping

from patchbank.methods.contract import Method

RESULTS = "results"


def manifest(dataset: str) -> str:
    """The manifest of a set."""
    return f"{RESULTS}/{dataset}/manifest.json"


def suggested_k(dataset: str) -> str:
    """The file that suggests how many clusters a set has."""
    return f"{RESULTS}/{dataset}/k.json"


def pointer(dataset: str, split: str, recipe: str) -> str:
    """The small file that says where a bank is."""
    return f"{RESULTS}/{dataset}/bank/{split}-{recipe}.json"


def predicted_splits(splits: Mapping[str, str], kind: str) -> list[str]:
    """The splits that are predicted: of segments also the one that clusters are fitted on; the scored one is last.

    Args:
        splits: names by role (`Config.splits`).
        kind: ``segments`` or ``classes``.
    """
    return list(dict.fromkeys([*([splits["fit"]] if kind == "segments" else []), splits["eval"]]))


def run_folder(dataset: str, method: str, seed: int | str) -> str:
    """Folder of a training: checkpoint, predictions, segment clusters, counts."""
    return f"{RESULTS}/{dataset}/{method}/seed{seed}"


def checkpoint(dataset: str, method: str, seed: int | str) -> str:
    """What a training has learned."""
    return f"{run_folder(dataset, method, seed)}/checkpoint.safetensors"


def source_folder(dataset: str, method: Method, seed: int | str) -> str:
    """Folder of the predictions and clusters that a row is counted from: post-processing has none of its own."""
    return run_folder(dataset, method.source or method.name, seed)


def truth(dataset: str, label_kind: str, preprocessing: str) -> str:
    """The labels that rows of a set are compared with."""
    kind = "-instance" if label_kind == "instance" else ""
    return f"{RESULTS}/{dataset}/truth{kind}-{preprocessing}.npz"


def scores(dataset: str, row: str, at: str = "") -> str:
    """Scores of a row; `at` is the ending of those at a further preprocessing."""
    return f"{RESULTS}/{dataset}/{row}/scores{at}.json"
