"""TransFGU's speed: pseudo labels in closed form against autograd, segmenter steps against their limit.

    python benchmarks/bench_transfgu.py [--model vit_small_patch8_224] [--size 320] [--centroids 27] [--repetitions 3]
        [--batch 64] [--only labels|steps|bfloat16]

Random weights; speed does not depend on them. Pseudo labels of one image:

- autograd: one forward pass with a graph, then one backward pass through the encoder per centroid, as the published
  code does (its last block's attention keeps its gradient, and the graph is kept between centroids);
- closed form with the forward pass: the encoder once without a graph, then the closed form;
- closed form from the bank: the read block's row is read from a bank on disk, then the closed form.

Steps: a training step from cached tokens against the same step with the frozen encoder in front of it. What a cached
step can win at most is (encoder + decoder) / decoder; `reached` is its share of that, with the reading of tokens and
maps and the RoI-align counted. The published decoder's step is the same one with its attention written out (softmax and
dropout of an N x N matrix), paired with ours.

bfloat16 (only when asked for): a product of the decoder's largest shape and a step in both precisions, and how far
logits, loss and gradients of the same weights and views lie apart without dropout.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import as_a_stage, machine, paired, spread, timed

from patchbank.backbones.tail import load_tail, tail_of
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.encode import row_shapes
from patchbank.bank.format import content_hash
from patchbank.bank.reader import open_bank
from patchbank.methods.tools.batches import Batch
from patchbank.methods.transfgu.batches import Views, load_batches
from patchbank.methods.transfgu.head import build_decoder
from patchbank.methods.transfgu.maps import gradient_maps
from patchbank.methods.transfgu.model import DROPOUT, MaskDecoder
from patchbank.methods.transfgu.optimiser import build_optimiser
from patchbank.methods.transfgu.pseudo_labels import PseudoLabels, gradient_rows, write_pseudo_labels
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.methods.transfgu.step import batch_losses, update
from patchbank.views.base import make_recipe
from patchbank.weights.spec import BackboneSpec


def by_autograd(vit: FrozenViT, inputs: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """G (K, N) of one image: one graph, one backward pass through the encoder per centroid."""
    model: Any = vit.model
    model.requires_grad_(True)
    x = model.norm_pre(model._pos_embed(model.patch_embed(inputs)))
    for block in model.blocks[:-1]:
        x = block(x)
    block = model.blocks[-1]
    b, n, d = x.shape
    q, k, v = block.attn.qkv(block.norm1(x)).reshape(b, n, 3, vit.heads, -1).permute(2, 0, 3, 1, 4)
    attention = (q @ k.transpose(-1, -2) * block.attn.scale).softmax(-1)
    attention.retain_grad()
    y = x + block.ls1(block.attn.proj((attention @ v).transpose(1, 2).reshape(b, n, d)))
    token = model.norm(y + block.ls2(block.mlp(block.norm2(y))))[:, 0]
    rows = []
    for centroid in centroids:
        model.zero_grad()
        attention.grad = None
        loss = (1 - torch.nn.functional.cosine_similarity(token, centroid[None])).mean()
        loss.backward(retain_graph=True)
        rows.append(attention.grad.mean(1)[0, 0, vit.prefix :])
    model.requires_grad_(False)
    return torch.stack(rows)


def write_bank(folder: Path, vit: FrozenViT, name: str, settings: dict[str, Any], images: int) -> Any:
    """A bank of random pictures, written by the real writer."""
    from patchbank.backbones.tail import save_tail
    from patchbank.bank.encode import encode
    from patchbank.bank.format import FORMAT
    from patchbank.bank.writer import ShardWriter
    from patchbank.files import write_json

    recipe = make_recipe(name, settings, vit.patch)
    ids = [f"{i:016x}" for i in range(images)]
    record = {
        "format": FORMAT, "code": "", "recipe": recipe.record(), "dtype": "float16", "shards": 1, "dataset": "bench",
        "split": "train", "backbone": {"name": "random", "block": vit.block}, "precision": "float32", "images": images,
    }  # fmt: skip
    folder = folder / name
    folder.mkdir()
    shapes = row_shapes(vit, recipe, np.dtype(np.float16))
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (1, recipe.draws, recipe.views, *recipe.size, 3), dtype=np.uint8))
    fields = {name: value.numpy() for name, value in encode(vit, recipe, pixels, 1 << 14).items()}
    h, w = settings["size"], settings["size"]
    fields.setdefault("boxes", np.tile(np.array([0.1 * w, 0.2 * h, 0.7 * w, 0.8 * h], np.float32), (1, 1, 1)))
    fields.setdefault("flip", np.zeros((1, 1), np.uint8))
    with ShardWriter(folder / "0000.h5", content_hash(record), images, shapes) as writer:
        for image in ids:
            writer.write([image], fields)
    write_json(folder / "bank.json", {**record, "ids": ids})
    if name == "lastblock":
        save_tail(folder, vit, content_hash(record))
    return open_bank(folder)


def written_out(attention: Any, x: torch.Tensor) -> torch.Tensor:
    """`model.Attention.forward` as the published decoder has it."""
    batch, count, dim = x.shape
    q, k, v = attention.qkv(x).view(batch, count, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    weights = torch.nn.functional.dropout(weights, DROPOUT, attention.training)
    mixed = attention.proj((weights @ v).transpose(1, 2).reshape(batch, count, dim))
    return torch.nn.functional.dropout(mixed, DROPOUT, attention.training)


def published_decoder(ours: MaskDecoder) -> MaskDecoder:
    """The same weights with the published attention."""
    decoder = copy.deepcopy(ours)
    for block in decoder.blocks:
        block.attn.forward = partial(written_out, block.attn)
    return decoder


def bench_pseudo_labels(vit: FrozenViT, bank: Any, size: int, count: int, repetitions: int) -> None:
    inputs, centroids = torch.randn(1, 3, size, size), torch.randn(count, vit.dim)
    tail = tail_of(vit)

    def with_forward() -> torch.Tensor:
        encoded, last = vit.read_block(inputs)
        parts = (part.clone() for part in (last.values, encoded.cls_attention, last.mixed, last.residual))
        return gradient_maps(tail, *parts, centroids, 8).values()

    loaded, images = load_tail(bank.folder, content_hash(bank.record)), len(bank.images)

    def from_bank() -> None:
        for _ in gradient_rows(bank, loaded, centroids.numpy(), 8, torch.device("cpu")):
            pass

    with_forward(), from_bank()
    ratios: list[tuple[float, float]] = []
    for _ in range(repetitions):
        slow, forward, cached = (
            timed(lambda: by_autograd(vit, inputs, centroids)),
            timed(with_forward),
            timed(from_bank),
        )
        cached /= images
        ratios.append((slow / forward, slow / cached))
        print(
            f"  autograd {slow:.2f} s, closed form with the forward pass {forward:.3f} s, "
            f"from the bank {1e3 * cached:.2f} ms"
        )
    print(f"pseudo labels of {count} centroids at {size}x{size}, one image, ratios to autograd:")
    print(f"  closed form, forward pass counted: {spread([a for a, _ in ratios], 0)} times (bar 50)")
    print(f"  closed form from the bank, reading counted: {spread([b for _, b in ratios], 0)} times (bar 1,000)")


def bench_steps(vit: FrozenViT, folder: Path, blocks: Any, arguments: argparse.Namespace) -> None:
    size, batch = arguments.size, arguments.batch
    settings = TransFGUSettings(things=arguments.centroids, batch_size=batch)
    bank = write_bank(folder, vit, "augmented", {"size": size, "draws": 1}, batch)
    tail = load_tail(blocks.folder, content_hash(blocks.record))
    centroids = np.random.default_rng(0).standard_normal((settings.maps, vit.dim), np.float32)
    rows = list(gradient_rows(blocks, tail, centroids, 8, torch.device("cpu")))
    blocks.images = bank.images
    every = (rows[i % len(rows)] for i in range(batch))
    write_pseudo_labels(folder / "labels.h5", blocks, every, settings.maps, {}, signed=False)
    labels, student = PseudoLabels(folder / "labels.h5", {}), build_decoder(vit.dim, settings)
    teacher, optimiser = build_decoder(vit.dim, settings).eval(), build_optimiser(student, settings)
    one = Batch(0, 0, True, np.arange(batch))
    device, order = torch.device("cpu"), torch.randperm(settings.classes)
    views = next(load_batches(bank, labels, [one], device))[1]
    pixels = torch.randn(batch, 3, *bank.input_size)

    def decoder(given: Views = views) -> None:
        update(optimiser, student.train(), batch_losses(student, teacher, given, settings, 0, order).total)

    def encoder() -> None:
        for chunk in torch.split(pixels, 16):
            vit(chunk)

    def cached() -> None:
        # two batches, so that reading ahead runs beside a step, as in training
        for _, loaded in load_batches(bank, labels, [one, one], device):
            decoder(loaded)

    other, its_teacher = published_decoder(student), published_decoder(teacher)
    its_optimiser = build_optimiser(other, settings)

    def published() -> None:
        update(its_optimiser, other.train(), batch_losses(other, its_teacher, views, settings, 0, order).total)

    parts = paired([decoder, encoder, cached, published], arguments.repetitions)
    middle = [statistics.median(part) for part in parts]
    limit, won = (middle[0] + middle[1]) / middle[0], (middle[0] + middle[1]) / (middle[2] / 2)
    print(f"steps of {batch} crops ({bank.grid[0]}x{bank.grid[1]} patches), K {settings.classes}, with a teacher:")
    print(f"  decoder {spread(parts[0])} s, encoder {spread(parts[1])} s, from the bank {middle[2] / 2:.2f} s a step")
    print(f"  published decoder {spread(parts[3])} s; ours takes {middle[0] / middle[3]:.2f} of it")
    print(f"  limit {limit:.2f} times, reached {won:.2f} times: {won / limit:.0%} (bar 90%)")


def bench_bfloat16(dim: int, arguments: argparse.Namespace) -> None:
    settings, batch, patches = TransFGUSettings(things=arguments.centroids), arguments.batch, arguments.patches
    student, teacher = build_decoder(dim, settings), build_decoder(dim, settings, 1).eval().requires_grad_(False)
    views, order = (
        Views(torch.randn(batch, patches, dim), torch.rand(batch, settings.maps, patches)),
        torch.randperm(settings.classes),
    )
    optimiser = build_optimiser(student, settings)

    def losses(half: bool) -> Any:
        precise = dataclasses.replace(settings, precision="bfloat16" if half else "float32")
        return batch_losses(student, teacher, views, precise, 0, order)

    def compared(half: bool) -> list[torch.Tensor]:
        student.eval().zero_grad()
        loss = losses(half).total
        loss.backward()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = student(views.tokens)[0].float()
        return [logits, loss.detach(), torch.cat([part.grad.flatten() for part in student.parameters()])]

    for name, exact, half in zip(("logits", "loss", "gradients"), compared(False), compared(True), strict=True):
        print(f"  {name}: bfloat16 lies {float((half - exact).norm() / exact.norm()):.2%} from float32")
    left, right = torch.randn(batch * (patches + settings.classes), dim), torch.randn(dim, 4 * dim)
    work = 2 * left.shape[0] * right.numel() / 1e9
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b, half = left.to(kind), right.to(kind), kind == torch.bfloat16
        (product,) = paired([lambda a=a, b=b: a @ b], arguments.repetitions)
        step = [lambda half=half: update(optimiser, student.train(), losses(half).total)]
        (steps,) = paired(step, arguments.repetitions)
        speed = work / statistics.median(product)
        print(f"  {name}: products {speed:.1f} GFLOP/s, a step of {batch} crops {spread(steps)} s", flush=True)


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch8_224")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--centroids", type=int, default=27)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", choices=("labels", "steps", "bfloat16"))
    parser.add_argument("--patches", type=int, default=256, help="of a crop, for bfloat16")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    vit = FrozenViT(BackboneSpec("random", arguments.model), None, device="cpu")
    print(machine())
    if arguments.only == "bfloat16":
        bench_bfloat16(vit.dim, arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        blocks = write_bank(Path(name), vit, "lastblock", {"size": arguments.size}, 8)
        if arguments.only != "steps":
            bench_pseudo_labels(vit, blocks, arguments.size, arguments.centroids, arguments.repetitions)
        if arguments.only != "labels":
            bench_steps(vit, Path(name), blocks, arguments)


if __name__ == "__main__":
    main()
