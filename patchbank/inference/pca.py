"""`patchbank pca`: the main directions of patch features as colours, one basis for all pictures.

| file | content |
|---|---|
| `pictures/<name>.png` | tokens as RGB, as large as the picture |
| `basis.npz` | `shift` (D,), `matrix` (D, 3), `low`, `high` (3,), and `encoder`: SHA-256 of its weights, block, norm |
| `pca.json` | which run writes here |

The basis is fitted on some of the pictures, spread evenly, and kept: the same run goes on with it when pictures are
added, and `--basis` takes it to other folders, so that a colour means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from patchbank.backbones.vit import FrozenViT
from patchbank.drawing.mark import png_info
from patchbank.drawing.pca import PICTURES, Basis, fit_basis, sampled
from patchbank.drawing.pictures import spread
from patchbank.errors import UserError
from patchbank.files import atomic_path, short_name, write_npz
from patchbank.inference.inputs import find_inputs
from patchbank.inference.pictures import GridSegments
from patchbank.inference.segment import SegmentSettings, segment_files
from patchbank.inference.segmenter import SIZE, Prepared, Scored
from patchbank.inference.tokens import squashed, views_per_pass, whole_tokens, windowed_tokens
from patchbank.outputs import claim_folder
from patchbank.recognise import read_arrays
from patchbank.views.resize import input_size

BASIS, RECORD, FOLDER = "basis.npz", "pca.json", "pictures"
NAMED = "A basis is named by its file, the basis.npz that `patchbank pca` wrote."


@dataclass(frozen=True)
class TokenReader:
    """Tokens of pictures in place of segments, for `patchbank.inference.segment.segment_files`.

    Attributes:
        vit: the encoder.
        settings: size or window.
        basis: turns tokens into three values; None keeps them.
    """

    vit: FrozenViT
    settings: SegmentSettings
    basis: Basis | None = None

    @property
    def batch(self) -> int:
        """Pictures that are worked on together."""
        size = input_size(self.settings.size or SIZE, self.vit.patch)
        return 1 if self.settings.window else views_per_pass(self.vit, size)

    def prepare(self, image: Image.Image) -> Prepared:
        """What the encoder gets of a picture."""
        whole = None if self.settings.window else squashed(image, self.vit.patch, self.settings.size or SIZE)
        return Prepared(image, whole)

    @torch.inference_mode()
    def score(self, pictures: Sequence[Prepared]) -> list[Scored]:
        """Tokens (D, N) of some pictures; several only without a window."""
        if self.settings.window:
            tokens, grid = windowed_tokens(self.vit, pictures[0].image, self.settings.window)
        else:
            tokens, grid = whole_tokens(self.vit, [one.squashed for one in pictures if one.squashed is not None])
        return [Scored(part.T, None, grid) for part in tokens.float().cpu().numpy()]

    def name(self, scored: Scored) -> GridSegments:
        """`scores` are tokens (D, h, w), or with a basis colours (3, h, w)."""
        values = scored.scores.T if self.basis is None else self.basis.colours(scored.scores.T).astype(np.float32)
        return GridSegments(values.T.reshape(-1, *scored.grid), np.arange(values.shape[1]))


def pca_pictures(
    paths: Sequence[str | Path],
    vit: FrozenViT,
    weights_sha256: str,
    out: str | Path,
    settings: SegmentSettings,
    basis: str | Path | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
) -> tuple[int, list[str], str]:
    """Draw pictures in one basis.

    Args:
        paths: files and folders.
        vit: the encoder.
        weights_sha256: of its weights.
        out: folder to write to.
        settings: size or window.
        basis: of another run; None is the one that `out` has of the same run, and where there is none a new one.
        overwrite: write over what another run wrote, with a new basis.
        report: called with what is left out.

    Returns:
        How many pictures were written, sentences about the others, and where the basis comes from.

    Raises:
        UserError: no picture, a basis of another encoder, or a folder of another run.
    """
    inputs, folder = find_inputs(paths, out, report), Path(out)
    encoder = f"{weights_sha256} block {vit.block} norm {vit.spec.norm}"
    given = None if basis is None else read_basis(basis, encoder)
    known = {"encoder": encoder, **settings.shaping(), "basis": None if basis is None else str(Path(basis).absolute())}
    claim_folder(folder, RECORD, known, (BASIS, FOLDER), overwrite)
    kept, source = folder / BASIS, str(basis)
    if given is None and kept.is_file() and not overwrite:
        given, source = read_basis(kept, encoder), f"{kept} of before"
    if given is None:
        chosen, parts = spread(inputs, PICTURES), dict[str, NDArray[np.float32]]()
        fitting = TokenReader(vit, settings)
        segment_files(chosen, fitting, partial(_keep, parts), lambda _: None, lambda _: None)
        if not parts:
            raise UserError(f"None of {len(chosen)} pictures can be read, so there is no basis; name others.")
        given = fit_basis([parts[one.name] for one in chosen if one.name in parts])
        source = f"{len(parts)} of these pictures"
    write_npz(kept, {**given.arrays(), "encoder": np.array(encoder)})
    drawing = TokenReader(vit, settings, given)
    problems = segment_files(inputs, drawing, partial(_write, folder / FOLDER), report, lambda _: None)
    return len(inputs) - len(problems), problems, source


def read_basis(path: str | Path, encoder: str) -> Basis:
    """A basis of the same encoder; `UserError` for another one, or a file that is none."""
    arrays = read_arrays(path, ("shift", "matrix", "low", "high", "encoder"), "a basis of PCA pictures", NAMED)
    if str(arrays["encoder"]) != encoder:
        raise UserError(f"{path} was fitted on the features of another encoder; leave it out, or name that encoder.")
    return Basis.from_arrays(arrays)


def _keep(parts: dict[str, NDArray[np.float32]], name: str, image: Image.Image, tokens: GridSegments) -> None:
    values: NDArray[np.float32] = tokens.scores.reshape(len(tokens.scores), -1).T
    parts[name] = np.ascontiguousarray(sampled(values))


def _write(folder: Path, name: str, image: Image.Image, colours: GridSegments) -> None:
    small = Image.fromarray(np.moveaxis(colours.scores, 0, -1).astype(np.uint8))
    above, _, last = name.rpartition("/")
    with atomic_path(folder / above / f"{short_name(last, '.png')}.png") as temporary:
        small.resize(image.size, Image.Resampling.BILINEAR).save(temporary, compress_level=1, pnginfo=png_info())
