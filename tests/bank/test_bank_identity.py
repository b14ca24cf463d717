"""What a bank is: its values. Which changes of the code keep every bank, which make another one."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from source_memory import forget_sources

from patchbank import fingerprint
from patchbank.backbones.vit import FrozenViT
from patchbank.bank import identity
from patchbank.bank.encode import row_shapes
from patchbank.bank.format import bank_folder, content_hash, row_fields
from patchbank.bank.identity import SHAPING, coding_code, fit_code, source_hash, values_code
from patchbank.fingerprint import module_file
from patchbank.views.base import make_recipe
from patchbank.weights.spec import BackboneSpec

RECIPES = (
    "augmented",
    "center320",
    "dense",
    "five",
    "flipped",
    "lastblock",
    "mirrored",
    "multicrop",
    "pixels",
    "recoloured",
    "whole",
    "windows",
)
ENCODER = "patchbank.backbones.vit"
MARK = "Shapes the values of banks"
MANIFEST = "patchbank.datasets.manifest"
HARMLESS = {
    "patchbank.alive": "which processes are alive",
    "patchbank.backbones.encoder": "what an encoder looks like",
    "patchbank.backbones.tail": "a file beside the shards, written anew by every extraction",
    "patchbank.bank.claims": "which process computes which shards",
    "patchbank.bank.coding_fit": "what it fits stands in the record, its code in the name of the file",
    "patchbank.bank.extract": "which shards",
    "patchbank.bank.decoding": "in which processes files are read, by how many",
    "patchbank.bank.fill": "in which order",
    "patchbank.bank.finish": "which shards are there already",
    "patchbank.bank.format": "names, hashes and checksums; its number stands in the record",
    "patchbank.bank.identity": "the hash itself",
    "patchbank.bank.predecessors": "which other hashes mean the same",
    "patchbank.bank.record": "what it holds is hashed",
    "patchbank.bank.scratch": "where shards are written first",
    "patchbank.bank.settings": "what it says stands in the record",
    "patchbank.bank.stored": "copies, sums up and checks what is cast",
    "patchbank.bank.sums": "sums of what is cast already",
    "patchbank.bank.writer": "writes what is cast already",
    "patchbank.checkpoints.store": "writes the file beside the shards",
    "patchbank.datasets.depth": "stands in the record of sets with deep pictures, and moves no other",
    "patchbank.datasets.dicom": "stands in the record of sets with DICOM files, and moves no other",
    "patchbank.datasets.directions": "stands in the record of sets with `bands: pca`, and moves no other",
    "patchbank.datasets.formats": "which files are pictures",
    "patchbank.datasets.images": "opens and refuses files; `rgb` makes their pixels",
    "patchbank.datasets.labels": "masks",
    "patchbank.datasets.listing": "which files are there",
    MANIFEST: "which files, with all that finds them; the record holds the hash of their contents",
    "patchbank.datasets.pages": "which page of which file a picture is",
    "patchbank.datasets.raster": "reads in parts what is refused as a whole",
    "patchbank.datasets.reading": "bytes of files",
    "patchbank.datasets.tiff": "stands in the record of sets with deep pictures, and moves no other",
    "patchbank.datasets.tiles": "which pixels of which file a picture is; its content id is of those pixels",
    "patchbank.datasets.unusable": "refusals",
    "patchbank.errors": "messages",
    "patchbank.files": "reading and writing of files",
    "patchbank.fingerprint": "follows imports",
    "patchbank.leases": "which process may write",
    "patchbank.memory": "keeps memory or gives it back",
    "patchbank.paths": "how a folder is named",
    "patchbank.progress": "bars",
    "patchbank.recognise": "says what a file is that is no bank",
    "patchbank.stopping": "when extraction ends early",
    "patchbank.threads": "how many CPUs there are",
    "patchbank.views": "a docstring",
    "patchbank.views.base": "what a recipe looks like, and which there are",
    "patchbank.views.bounds": "messages, and which recipes are encoded how; what they are is hashed",
    "patchbank.views.plain": "which other recipe's views; that one is hashed, and its settings stand in the record",
    "patchbank.weights.facts": "tables; what they say of normalisation stands in the record",
    "patchbank.weights.readable": "which models are refused",
    "patchbank.weights.spec": "what it says stands in the record",
}
"""Modules that extraction reaches and that cannot move a value, with the reason."""
CODES = {
    "augmented": "6666618ba919ac6b",
    "center320": "7b57a63add1d054b",
    "dense": "2e14088427e05edb",
    "five": "5297c4f07316b1d4",
    "flipped": "37bd67b57f0de7a3",
    "lastblock": "ccd1badfb3d75548",
    "mirrored": "89f7f9a2e0ce2131",
    "multicrop": "1058b2b6bc28c8a8",
    "pixels": "a48b06c8e287b3bd",
    "recoloured": "233173536f538dee",
    "whole": "765b5950c2c2de22",
    "windows": "e8681c21d70be7b9",
}
"""Hashes of today's code."""


def codes() -> dict[str, str]:
    return {recipe: values_code(ENCODER, f"patchbank.views.{recipe}") for recipe in RECIPES}


def forget() -> None:
    forget_sources()
    identity._module_hash.cache_clear()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's source."""
    copy = tmp_path_factory.mktemp("copy") / "patchbank"
    shutil.copytree(fingerprint.ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture
def package(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy, from which hashes are made, as it was before the last test."""
    kept = {path: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    monkeypatch.setattr(fingerprint, "ROOT", source)
    forget()
    yield source
    for path in set(source.rglob("*.py")) - set(kept):
        path.unlink()
    for path, text in kept.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    forget()


def change(package: Path, file: str, old: str, new: str) -> None:
    path = package / file
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{file} does not hold {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


HARMLESS_CHANGES = {
    "package version": ("__init__.py", "__version__ = ", '__version__ = "9" + '),
    "message in a shaping module": ("backbones/vit.py", "does not exist, ", "is not there, "),
    "message of a recipe": ("views/windows.py", "no window of scales", "not one window of scales"),
    "exception's chain": ("views/resize.py", "choose one of {', '.join(NAMES)}.\")", "take one.\") from None"),
    "docstring": ("views/resize.py", '"""The image at (H, W).', '"""The picture at (H, W).'),
    "comment": ("bank/cast.py", "    return values", "    # a reason\n    return values"),
    "annotation": ("views/geometry.py", "width: int, height: int, scale", "width: float, height: int, scale"),
    "annotation of a variable": ("backbones/vit.py", "self.dim: int =", "self.dim ="),
    "type alias": ("bank/encode.py", "tuple[torch.Tensor, torch.Tensor, torch.Tensor]", "tuple[torch.Tensor, ...]"),
    "logging": ("bank/encode.py", "    h, w = vit.grid", '    LOG.info("encoding")\n    h, w = vit.grid'),
    "logger": ("bank/encode.py", "\ndef row_shapes", "\nLOG = logging.getLogger(__name__)\n\n\ndef row_shapes"),
    "progress": ("bank/encode.py", "in _chunks(vit, recipe, pixels, batch_tokens)",
                 "in track(_chunks(vit, recipe, pixels, batch_tokens), 'encode')"),
    "import for types": ("bank/cast.py", "import torch\n", "import logging\nfrom typing import Any\n\nimport torch\n"),
    "errors": ("errors.py", "SHOWN = 20", "SHOWN = 30"),
    "files": ("files.py", "CHUNK = 1 << 20", "CHUNK = 1 << 21"),
    "label maps": ("datasets/labels.py", "IGNORE = 255", "IGNORE = 254"),
    "words for conversions": ("datasets/images.py", '"transparency over white"', '"no longer transparent"'),
    "checksums and sums": ("bank/sums.py", "CANCELLED = 1e-6", "CANCELLED = 1e-5"),
    "how many workers": ("bank/decoding.py", "MAX_WORKERS = 16", "MAX_WORKERS = 8"),
}  # fmt: skip
SQUASHED = set(RECIPES) - {"multicrop"}
SHAPING_CHANGES = {
    "resize": ("views/resize.py", 'mode="bilinear", align_corners=False', 'mode="bilinear", align_corners=True',
               SQUASHED),
    "squash": ("views/resize.py", "Image.Resampling.BILINEAR", "Image.Resampling.BICUBIC",
               SQUASHED),
    "recipe": ("views/multicrop.py", "Image.Resampling.BILINEAR", "Image.Resampling.BICUBIC", {"multicrop"}),
    "geometry": ("views/geometry.py", "TRIES = 10", "TRIES = 11", {"multicrop"}),
    "colours": ("views/colour.py", "JITTER, HUE = 0.8", "JITTER, HUE = 0.7", {"multicrop"}),
    "settings of views": ("views/augmented.py", "JITTER, GREY, BLUR, FLIP = 0.3", "JITTER, GREY, BLUR, FLIP = 0.4",
                          {"augmented"}),
    "mirror": ("views/flipped.py", "/ 2)", "/ 3)", {"flipped"}),
    "seeds": ("seeds.py", "[:8]", "[8:16]", {"augmented", "multicrop", "recoloured"}),
    "encoder read": ("backbones/vit.py", "(x[:, self.prefix :]", "(x[:, self.prefix - 1 :]", set(RECIPES)),
    "attention read": ("backbones/attention.py", "logits.softmax(-1)", "logits.sigmoid()", set(RECIPES)),
    "rotation": ("backbones/attention.py", "half=self._attention.rotate_half", "half=False", set(RECIPES)),
    "positions": ("backbones/families.py", "+ 0.1) / side", "+ 0.2) / side", set(RECIPES)),
    "normalisation": ("backbones/vit.py", "(pixels - self._mean) / self._std", "pixels / self._std", set(RECIPES)),
    "read block": ("backbones/attention.py", "chunk(3, -1)[2]", "chunk(3, -1)[1]", set(RECIPES)),
    "cast": ("bank/cast.py", "return values.to(dtype)", "return values.trunc().to(dtype)",
             set(RECIPES)),
    "batches": ("bank/encode.py", "else torch.cat(parts)", "else torch.cat(parts[::-1])",
                set(RECIPES)),
    "16-bit grey": ("datasets/rgb.py", "+ 32767", "+ 0", set(RECIPES)),
    "orientation": ("datasets/rgb.py", "6: Image.Transpose.ROTATE_270", "6: Image.Transpose.ROTATE_90", set(RECIPES)),
    "MATLAB": ("datasets/matlab.py", "value[..., :3]", "value[..., 1:4]", set(RECIPES)),
    "model": ("weights/model.py", "built.eval()", "built.train()", set(RECIPES)),
    "raised or not": ("views/windows.py", "if select not in SELECTIONS", "if select in SELECTIONS", {"windows"}),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS_CHANGES)
def test_what_moves_no_value_keeps_every_bank(name: str, package: Path) -> None:
    change(package, *HARMLESS_CHANGES[name])
    assert codes() == CODES


@pytest.mark.parametrize("name", SHAPING_CHANGES)
def test_what_moves_values_is_another_bank(name: str, package: Path) -> None:
    *edit, moved = SHAPING_CHANGES[name]
    change(package, *edit)
    assert {recipe for recipe, code in codes().items() if code != CODES[recipe]} == moved


def test_a_module_that_moves_keeps_every_bank(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "views/geometry.py").rename(package / "views/crops.py")
    for file in (package / "views").glob("*.py"):
        file.write_text(file.read_text().replace("patchbank.views.geometry", "patchbank.views.crops"))
    monkeypatch.setattr(identity, "SHAPING", (*SHAPING, "patchbank.views.crops"))
    assert codes() == CODES


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x: int) -> int:\n    return x", "def f(x):\n    'Words.'\n    return x  # why"),
        ("a: int = 1", "a = 1"),
        ("raise ValueError('no')", "raise ValueError(f'{1} is no') from error"),
        ("assert x, 'no'", "assert x"),
        ("import logging\nfrom typing import Any\nf(1)", "f(1)"),
        ("from patchbank.a import b\nb()", "from patchbank.c.d import b\nb()"),
        ("if TYPE_CHECKING:\n    import numpy\nf()", "f()"),
    ],
)
def test_sources_that_mean_the_same(one: str, other: str) -> None:
    assert source_hash(one) == source_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return_ = None", "return_ = 0"),
        ("f(1)", "f(2)"),
        ("f([])", "f()"),
        ("f(None)", "f()"),
        ("f(x, y)", "f(y, x)"),
        ("raise ValueError('no')", "raise TypeError('no')"),
        ("if x:\n    raise ValueError", "if not x:\n    raise ValueError"),
        ("from torch import a", "from torch.x import a"),
        ("from patchbank.a import b", "from patchbank.a import c as b"),
        ("x = 'a'", "x = 'b'"),
        ("x = 1.0", "x = 1"),
        ("def f(x=1):\n    return x", "def f(x=2):\n    return x"),
    ],
)
def test_sources_that_do_not(one: str, other: str) -> None:
    assert source_hash(one) != source_hash(other)


def test_every_module_that_extraction_reaches_is_known_to_shape_values_or_not_to() -> None:
    reached: set[str] = set()
    waiting = ["patchbank.bank.extract", *(f"patchbank.views.{recipe}" for recipe in RECIPES)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += fingerprint.imports(name) if name != MANIFEST else ()
    assert not set(SHAPING) & set(HARMLESS)
    unknown = reached - set(SHAPING) - set(HARMLESS)
    assert not unknown, f"name them in patchbank/bank/identity.py, or here with the reason: {sorted(unknown)}"
    assert set(SHAPING) | set(HARMLESS) <= reached, "modules that extraction does not reach any more"


def test_modules_that_shape_values_say_so() -> None:
    for path in fingerprint.ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(fingerprint.ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        opening = "\n".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[:4])
        assert (MARK in opening) == (module in SHAPING), module
    assert all(module_file(name).is_file() for name in SHAPING)


def test_the_code_that_shapes_values_is_that_of_existing_banks() -> None:
    assert codes() == CODES, (
        "Code that shapes values changed. Where no value did, name the module's hashes in REWRITTEN of "
        "patchbank/bank/identity.py, so that banks keep their hash, or put the hashes of CODES into BY_VALUES of "
        "patchbank/bank/predecessors.py, so that existing banks are taken over; where values did, empty the tables "
        "there for these recipes and say so in CHANGELOG.md. Then bring CODES up to date."
    )


def test_codings_and_the_files_of_their_fits_keep_their_hashes() -> None:
    """A coding that is fitted again where it is not bit-equal is another bank."""
    assert (coding_code(), fit_code()) == ("f55eecc55693b7bf", "e6e1d088c1ab2706")


def record(**changes: object) -> dict[str, object]:
    backbone = {"name": "a", "model": "vit", "block": 1, "sha256": "0"}
    own = {"format": 1, "code": "c", "dataset": "d", "split": "train", "manifest": "m", "images": 3, "shards": 1}
    return {**own, "backbone": backbone, "recipe": {"name": "whole", "size": [64, 64]}, "precision": "float32",
            "dtype": "float16", **changes}  # fmt: skip


def test_names_and_images_are_no_part_of_a_rows_identity() -> None:
    same = [record(dataset="e"), record(split="val"), record(manifest="n", images=4, shards=2)]
    same.append(record(backbone={"name": "b", "model": "vit", "block": 1, "sha256": "0"}))
    assert {content_hash(other) for other in same} == {content_hash(record())}
    different = [{"code": "x"}, {"precision": "bfloat16"}, {"dtype": "float32"}, {"format": 2}]
    different += [{"recipe": {"name": "whole", "size": [64, 80]}}]
    different += [{"backbone": {"name": "a", "model": "vit", "block": 1, "sha256": "1"}}]
    assert len({content_hash(record(**change)) for change in different} | {content_hash(record())}) == 7


def test_images_and_their_cut_make_another_folder_and_a_released_version_none() -> None:
    folder = bank_folder("root", record())
    assert bank_folder("root", record(manifest="n")) != folder
    assert bank_folder("root", record(shards=2)) != folder
    assert bank_folder("root", record(images=4, ids=["a"], contents=["b"])) == folder


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_declares_its_fields_in_the_order_of_existing_checksums(name: str) -> None:
    vit = FrozenViT(BackboneSpec("tiny", "vit_tiny_patch16_224", block=0), None, device="cpu")
    recipe = make_recipe(name, {"size": 64}, vit.patch)
    declared = tuple(row_shapes(vit, recipe, np.dtype(np.float16)))
    assert (*declared, "image") == row_fields({"recipe": recipe.record()})
    order = ("tokens", "cls", "cls_attention", "last_values", "last_mixed", "last_residual", "window", "pixels")
    order += ("boxes", "flip")
    assert declared == tuple(field for field in order if field in declared)
