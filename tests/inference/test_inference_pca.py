"""`patchbank pca`: one basis for a set, unique, kept, and taken to other folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bank_factory import TINY, make_images
from PIL import Image

from patchbank.cli import main
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.drawing.pca import fit_basis, sampled
from patchbank.errors import UserError
from patchbank.files import read_npz
from patchbank.inference.inputs import find_inputs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pca")
    make_images(folder, 4)
    return folder


def pca(world: Path, out: Path, pictures: Path, *more: str) -> int:
    encoder = ["--model", TINY.model, "--file", str(world / "weights.safetensors"), "--no-norm", "--size", "64"]
    encoder += ["--weights", str(world / "converted.safetensors"), "--device", "cpu", "--threads", "1"]
    return main(["pca", str(pictures), "--out", str(out), *encoder, *more])


def test_directions_are_those_of_most_variance_with_fixed_signs() -> None:
    """Tokens on three axes: the one of most variance is red, and the larger end of an axis is the brighter one."""
    rng = np.random.default_rng(0)
    axes = np.zeros((3, 8))
    axes[0, 5], axes[1, 2], axes[2, 7] = 9, -4, 2
    shares = rng.uniform(-1, 1, (4000, 3))
    basis = fit_basis([(shares @ axes).astype(np.float32) + 100])
    matrix = basis.projection.matrix
    np.testing.assert_allclose(np.abs(matrix[[5, 2, 7], [0, 1, 2]]), 1, atol=0.01)
    assert (matrix[np.abs(matrix).argmax(0), range(3)] > 0).all()
    order = basis.colours(100 + np.array([[0, 0, 0, 0, 0, v, 0, 0] for v in (-20, -4, 0, 4, 20)]))[:, 0].astype(int)
    assert order[0] == 0
    assert order[-1] == 255
    assert (np.diff(order) > 0).all()
    assert abs(order[2] - 127) < 8
    np.testing.assert_array_equal(basis.picture(np.full((6, 8), 100.0), (2, 3), (4, 9)).shape, (4, 9, 3))


def test_tokens_without_three_directions_have_black_channels() -> None:
    basis = fit_basis([np.array([[0.0, 1], [4, 1], [2, 1]], np.float32)])
    np.testing.assert_array_equal(basis.colours(np.array([[0.0, 1], [4, 1]]))[:, 0], [0, 255])
    assert (basis.colours(np.array([[0.0, 1], [4, 1]]))[:, 2] == 0).all()
    assert len(sampled(np.zeros((5000, 2)))) <= 2 * 1024


def test_a_basis_is_kept_and_taken_along(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    album, val = tmp_path / "album", world / "data" / "images" / "val"
    (album / "sea").mkdir(parents=True)
    shutil.copy(val / "000.png", album / "a.png")
    shutil.copy(val / "001.png", album / "sea" / "b.png")
    for out in ("one", "two"):
        assert pca(world, tmp_path / out, album) == 0
    first = {name: (tmp_path / "one" / "pictures" / name).read_bytes() for name in ("a.png", "sea/b.png")}
    for name, content in first.items():
        assert (tmp_path / "two" / "pictures" / name).read_bytes() == content
    drawn, picture = Image.open(tmp_path / "one" / "pictures" / "a.png"), Image.open(album / "a.png")
    assert (drawn.size, drawn.mode) == (picture.size, "RGB")
    assert len(np.unique(np.asarray(drawn).reshape(-1, 3), axis=0)) > 10
    # a picture that is added gets the basis of before, also in another folder
    shutil.copy(val / "002.png", album / "c.png")
    basis = (tmp_path / "one" / "basis.npz").read_bytes()
    assert pca(world, tmp_path / "one", album) == 0
    assert "of before" in capsys.readouterr().out
    assert (tmp_path / "one" / "basis.npz").read_bytes() == basis
    assert {name: (tmp_path / "one" / "pictures" / name).read_bytes() for name in first} == first
    assert pca(world, tmp_path / "three", album / "c.png", "--basis", str(tmp_path / "one" / "basis.npz")) == 0
    names = [tmp_path / out / "pictures" / "c.png" for out in ("one", "three")]
    assert names[0].read_bytes() == names[1].read_bytes()
    known = read_npz(tmp_path / "one" / "basis.npz")
    assert known["matrix"].shape == (192, 3)
    # what does not fit is refused, and nothing is written over
    (album / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert pca(world, tmp_path / "one", album) == 1
    assert "bad.png" in capsys.readouterr().err
    for more, said in (
        (["--basis", str(tmp_path / "one" / "basis.npz"), "--block", "0"], "of another encoder"),
        (["--basis", str(album / "a.png")], "not a basis of PCA pictures"),
    ):
        assert pca(world, tmp_path / "four", album, *more) == 1
        assert said in capsys.readouterr().err
    assert pca(world, tmp_path / "one", album, "--block", "0") == 1
    assert "of a run of other encoder; name another folder" in capsys.readouterr().err


def test_pictures_of_pca_never_become_inputs(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the pictures or in their own folder: the same command, a set and `segment` see the photographs alone."""
    for out in (tmp_path / "below" / "colours", tmp_path / "same"):
        album = tmp_path / out.relative_to(tmp_path).parts[0]
        album.mkdir()
        shutil.copy(world / "data" / "images" / "val" / "000.png", album / "a.png")
        assert pca(world, out, album) == 0
        assert pca(world, out, album) == 0
        assert "pictures written to " + str(out) + ": 1; basis" in capsys.readouterr().out
        manifest = scan(make_spec("mine", "folder", album), workers=1)
        assert [entry.image for entry in manifest.entries("val")] == ["a.png"]
        said: list[str] = []
        assert [one.name for one in find_inputs([album], tmp_path / "other", said.append)] == ["a"]
        assert "outputs of patchbank pca (1): " in said[0]
        with pytest.raises(UserError, match="pictures holds no picture; left out: outputs of patchbank pca"):
            find_inputs([out / "pictures"], tmp_path / "other")
    # a folder of that name beside another file of that name is an input
    shutil.copytree(tmp_path / "same" / "pictures", tmp_path / "own" / "pictures")
    (tmp_path / "own" / "pca.json").write_text('{"components": 3}')
    assert [one.name for one in find_inputs([tmp_path / "own"], tmp_path / "other")] == ["pictures/a"]
