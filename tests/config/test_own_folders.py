"""Every folder of one's own has results of its own, and targets that nothing makes are answered in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trees
from workflow_tools import Project

from patchbank.config.config import Config
from patchbank.config.folders import PROJECT
from patchbank.config.load import command_line_config
from patchbank.config.own_folder import claim, folder_of, own_results, results_name, slug_of
from patchbank.config.targets import check_targets
from patchbank.datasets import make_spec
from patchbank.datasets.scan import scan
from patchbank.errors import UserError

CONFIGURED = {"voc": {}, "demo": {}}
RULES = ["all", "demo", "manifest", "eval_demo", "eval_voc", "eval_coco27", "fetch_voc", "fetch_coco", "ablate_heads"]


def pictures(folder: Path) -> Path:
    """A folder with one picture."""
    trees.picture(folder / "a.jpg", 1)
    return folder


def finished(folder: Path, name: str, results: Path) -> None:
    """Results of a folder, as a run leaves them."""
    claim(name, folder, results)
    scan(make_spec(name, "folder", folder)).save(results / name / "manifest.json")


@pytest.mark.parametrize(
    ("folder", "slug"),
    [
        ("/x/2024_05", "2024_05"),
        ("/x/Meine Bilder (2)", "meine_bilder_2"),
        ("/x/CamVid-test", "camvid_test"),
        ("/x/" + "a" * 90, "a" * 60),
    ],
)
def test_a_name_from_a_folder(folder: str, slug: str) -> None:
    assert slug_of(Path(folder)) == slug


def test_a_folder_without_plain_letters_has_a_stable_name() -> None:
    assert slug_of(Path("/x/写真")).startswith("folder_")
    assert slug_of(Path("/x/写真")) == slug_of(Path("/x/写真")) != slug_of(Path("/y/写真"))


def test_the_first_folder_is_mine_and_others_have_names_of_their_own(tmp_path: Path) -> None:
    results = tmp_path / "results"
    first, second = pictures(tmp_path / "first"), pictures(tmp_path / "second")
    assert results_name(first, None, CONFIGURED, results) == "mine"
    finished(first, "mine", results)
    assert results_name(first, None, CONFIGURED, results) == "mine"
    assert results_name(second, None, CONFIGURED, results) == "second"
    finished(second, "second", results)
    assert results_name(second, None, CONFIGURED, results) == "second"
    assert own_results(results) == {"mine": first, "second": second}


def test_a_folder_keeps_its_name_when_mine_becomes_free(tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = pictures(tmp_path / "second")
    finished(folder, "second", results)
    assert results_name(folder, None, CONFIGURED, results) == "second"


@pytest.mark.parametrize("name", ["voc", "bank", "logs"])
def test_a_folder_called_as_a_set_or_a_folder_of_results(tmp_path: Path, name: str) -> None:
    results = tmp_path / "results"
    finished(pictures(tmp_path / "first"), "mine", results)
    assert results_name(pictures(tmp_path / name), None, CONFIGURED, results) == f"own_{name}"


def test_folders_of_one_name_are_refused_with_a_name_that_is_free(tmp_path: Path) -> None:
    results = tmp_path / "results"
    finished(pictures(tmp_path / "first"), "mine", results)
    finished(pictures(tmp_path / "a" / "pics"), "pics", results)
    folder = pictures(tmp_path / "b c" / "pics")
    with pytest.raises(
        UserError, match=f"mine .of {tmp_path / 'first'}. and .*a/pics.*'folder=.*b c/pics' name=b_c_pics"
    ):
        results_name(folder, None, CONFIGURED, results)
    assert results_name(folder, "b_c_pics", CONFIGURED, results) == "b_c_pics"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Pics", "name=My-Pics cannot name results; write small letters, digits and _, for example name=my_pics"),
        ("voc", "name=voc is a set of the configuration already; choose another, for example name=second"),
        ("weights", "name=weights is a folder of results/ already"),
        ("mine", "mine holds the results of .*first, not of .*second; choose another name, for example name=second"),
        ("../x", "cannot name results"),
    ],
)
def test_names_that_cannot_be_had(tmp_path: Path, name: str, words: str) -> None:
    finished(pictures(tmp_path / "first"), "mine", tmp_path / "results")
    with pytest.raises(UserError, match=words):
        results_name(pictures(tmp_path / "second"), name, CONFIGURED, tmp_path / "results")


def test_a_renamed_folder_keeps_its_results_and_another_one_does_not_get_them(tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = pictures(tmp_path / "before")
    finished(folder, "mine", results)
    other = tmp_path / "other"
    trees.picture(other / "b.jpg", 2)
    renamed = folder.rename(tmp_path / "after")
    assert results_name(renamed, None, CONFIGURED, results) == "mine"
    assert results_name(other, None, CONFIGURED, results) == "other"


def test_a_link_to_a_folder_is_the_folder(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "first")
    finished(folder, "mine", tmp_path / "results")
    (tmp_path / "link").symlink_to(folder)
    assert results_name(tmp_path / "link", None, CONFIGURED, tmp_path / "results") == "mine"


def test_results_from_before_folders_were_written_down(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "first")
    finished(folder, "mine", tmp_path / "results")
    (tmp_path / "results" / "mine" / "folder.json").unlink()
    assert folder_of(tmp_path / "results" / "mine") == folder


def test_a_claim_without_results_holds_nothing(tmp_path: Path) -> None:
    claim("mine", tmp_path / "first", tmp_path / "results")
    assert folder_of(tmp_path / "results" / "mine") is None


def test_a_configured_set_mine_leaves_no_default_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"datasets has a set 'mine'.*add name=first"):
        results_name(tmp_path / "first", None, {"mine": {}}, tmp_path / "results")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """A configuration with entries of a command line, read in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *entries: command_line_config([PROJECT / "config.yaml"], entries)


def answer(target: str, config: Config, *entries: str) -> str:
    """The sentence about a target, "" where there is nothing to say."""
    try:
        check_targets([target], RULES, lambda path: path == "results/demo/report.md", config, entries)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("eval_mine", "the folder to evaluate is missing, folder=DIR: snakemake eval_mine --config folder=DIR"),
        (
            "eval_foo",
            "there is no set 'foo'. There are eval_demo, eval_voc, eval_coco27. A folder of your own:",
        ),
        ("eval_VOC", "Did you mean eval_voc?"),
        ("eval_coco-27", "Did you mean eval_coco27?"),
        ("fetch_vocs", "there is no download 'vocs'. Did you mean fetch_voc?"),
        (
            "ablate_head",
            "under `ablations` of the configuration. Did you mean ablate_heads?",
        ),
        ("ablate_alignseg", "add --configfile "),
        ("results/foo/report.md", "there is no set 'foo'. There are"),
        ("results/mine/report.md", "the folder to evaluate is missing, folder=DIR"),
        ("results/demo/report.txt", "no rule makes this; results of demo are report.md, index.html"),
        ("./results/demo/report.md", "write it as the rules do, results/demo/report.md"),
        ("al", "no rule makes this. Did you mean all?"),
        ("xyz", "`snakemake --list-target-rules` lists all targets"),
    ],
)
def test_what_is_said_of_targets_that_nothing_makes(target: str, words: str, in_folder: Callable[..., Config]) -> None:
    said = answer(target, in_folder())
    assert said.startswith(f"{target}: ")
    assert words in said


def test_targets_that_are_there(in_folder: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert [answer(target, in_folder()) for target in ("all", "results/demo/report.md", "notes.txt")] == [""] * 3


def test_results_of_another_folder_are_not_this_ones(in_folder: Callable[..., Config], tmp_path: Path) -> None:
    finished(pictures(tmp_path / "first"), "mine", tmp_path / "results")
    said = answer("results/mine/manifest.json", in_folder("folder=second"))
    assert f"results/mine are those of {tmp_path / 'first'}" in said
    assert "ask for results/second/manifest.json or eval_mine, or choose a name with name=NAME" in said
    assert "--config folder=" not in answer("eval_voc", in_folder())
    finished(pictures(tmp_path / "third"), "third", tmp_path / "results")
    assert f"snakemake eval_third --config folder={tmp_path / 'third'} name=third" in answer("eval_third", in_folder())


def test_a_folder_called_null(in_folder: Callable[..., Config]) -> None:
    assert "a folder called null is folder=./null" in answer("eval_mine", in_folder("folder=null"), "folder=null")


@pytest.mark.exhaustive
def test_two_folders_keep_their_results_side_by_side(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", {})
    first, second = pictures(project.folder / "2024_05"), pictures(project.folder / "b" / "More")
    project.done("results/mine/manifest.json", "--config", "folder=2024_05")
    (project.folder / "results/mine/report.md").write_text("report of the first")
    refused = project.snakemake("--cores", "1", "results/mine/manifest.json", "--config", f"folder={second}")
    assert refused.returncode == 1
    assert "ask for results/more/manifest.json" in refused.stdout
    text = project.done("results/more/manifest.json", "--config", f"folder={second}")
    assert f"Results of folder={second} are in results/more/." in text
    for name, folder in (("mine", first), ("more", second)):
        assert json.loads((project.folder / "results" / name / "manifest.json").read_text())["root"] == str(folder)
    assert (project.folder / "results/mine/report.md").read_text() == "report of the first"
    assert project.planned("results/mine/manifest.json", "--config", "folder=2024_05") == {}
    assert "eval_mine" in project.planned("eval_mine", "--config", f"folder={second}")
    missing = project.snakemake("-n", "eval_mine")
    assert missing.returncode == 1
    assert missing.stdout.strip().endswith("snakemake eval_mine --config folder=DIR")
