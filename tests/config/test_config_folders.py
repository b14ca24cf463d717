"""Where things lie: an installed package, a checkout, a folder of `patchbank init`; paths as users write them."""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from patchbank import cli
from patchbank.config import folders, jobs, lay_out
from patchbank.config.folders import PACKAGE, PARTS, PROJECT, SCHEMA, config_file, how_to_make, project_files
from patchbank.config.load import checked, read_config
from patchbank.errors import UserError
from patchbank.paths import expand

PATH_KEYS = {
    "data_root",
    "folder",
    "names",
    "bank_root",
    "backbones.*.file",
    "backbones.*.sources.*.path",
    "datasets.*.root",
}


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((PROJECT / "config.yaml").read_text()))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("~", "/h o/me"),
        ("~/a b", "/h o/me/a b"),
        ("$DISK/x", "/disk/x"),
        ("${DISK}x/$SUB", "/diskx/s$DISK"),
        ("./a/../b", "./a/../b"),
        ("a~/~", "a~/~"),
        ("100$", "100$"),
        ("a$(b)", "a$(b)"),
    ],
)
def test_home_and_variables_are_replaced_as_a_shell_does(
    text: str, expanded: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "/h o/me", "DISK": "/disk", "SUB": "s$DISK"}.items():
        monkeypatch.setenv(name, value)
    assert expand(text) == expanded


@given(st.text(st.characters(exclude_characters="~$\0", exclude_categories=["Cs"])))
def test_every_other_text_stays_as_it_is(text: str) -> None:
    assert expand(text) == text


def test_a_file_whose_name_looks_like_a_variable_or_a_user_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pay$day.png", "$HOME.png", "~x.png"):
        Path(name).touch()
        assert expand(name) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$NOWHERE/$HOME/x", r"\$NOWHERE/\$HOME/x: the environment has no variable NOWHERE; set it"),
        ("${NO_A}/$NO_B", "no variable NO_A, NO_B"),
        ("~nobody-of-this-name/x", "the home folder of ~nobody-of-this-name is not known"),
    ],
)
def test_what_cannot_be_expanded_is_said(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        expand(text)


def _path_keys(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[str]:
    if schema.get("format") == "path":
        yield ".".join(at)
    for key, part in schema.get("properties", {}).items():
        yield from _path_keys(part, (*at, key))
    for part in (schema.get("additionalProperties"), schema.get("items")):
        if isinstance(part, dict):
            yield from _path_keys(part, (*at, "*"))


def test_every_path_of_the_configuration_is_expanded_and_says_where_it_starts(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    assert set(_path_keys(schema)) == PATH_KEYS
    monkeypatch.setenv("HOME", "/home/a$b")
    monkeypatch.setenv("DISK", "disk")
    values |= {"data_root": "~/data", "bank_root": "$DISK/bank", "folder": "~/mine"}
    own = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "sources": [{"kind": "file", "path": "~/s.pth"}]}
    values["backbones"]["dino_vits16"] |= {**own, "file": "${HOME}/w.pth"}
    values["datasets"]["msrc"]["root"] = "$DISK/msrc"
    values["datasets"]["camvid"]["root"] = "~/camvid"
    config = checked(values)
    assert config.bank_root == "disk/bank"
    assert [config.spec(name).root for name in ("msrc", "camvid", "voc", "mine")] == [
        Path("/home/a$b/data/disk/msrc"),
        Path("/home/a$b/camvid"),
        Path("/home/a$b/data/voc"),
        Path("/home/a$b/mine"),
    ]
    assert [source["path"] for source in config.backbone("dino_vits16").sources] == [
        "/home/a$b/w.pth",
        "/home/a$b/s.pth",
    ]


def test_all_paths_that_cannot_be_expanded_are_named_by_their_keys(values: dict[str, Any]) -> None:
    values |= {"data_root": "$NOT_SET/x"}
    values["backbones"]["dino_vits8"]["file"] = "~nobody-of-this-name/w.pth"
    with pytest.raises(UserError) as raised:
        checked(values)
    assert "data_root: $NOT_SET/x: the environment has no variable NOT_SET" in str(raised.value)
    assert "backbones.dino_vits8.file: ~nobody-of-this-name/w.pth: the home folder of" in str(raised.value)


def test_the_working_folders_configuration_wins_and_the_shipped_one_is_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file(tmp_path / "beside") == tmp_path / "beside" / "config.yaml"
    assert read_config().enabled == ["demo"]
    Path("config.yaml").write_text(yaml.safe_dump(values | {"all": ["msrc"]}))
    assert config_file(tmp_path / "beside") == Path("config.yaml")
    assert read_config().enabled == ["msrc"]
    Path("config.yaml").write_text("data_root: x\n")
    with pytest.raises(UserError, match=r"all, backbones, datasets must be given: a config.yaml in the working folder"):
        read_config()


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _arguments(command)
        else:
            yield action


def test_no_argument_that_is_a_path_is_taken_unexpanded() -> None:
    texts = {"dataset", "name", "method", "model", "classes", "label_map", "backbone", "device", "changes"}
    texts |= {"image_prefix", "leave_out", "variant", "set"}
    arguments = [action for action in _arguments(cli._parser()) if action.nargs != 0 and not action.choices]
    assert [action.dest for action in arguments if action.type is Path] == []
    unexpanded = {action.dest for action in arguments if action.type is None}
    assert unexpanded <= texts, "give each of them type=expand, or name it here where it is no path"


def test_a_wrong_path_of_a_command_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "$NOT_SET/bank"]) == 1
    assert capsys.readouterr().err == (
        "patchbank: $NOT_SET/bank: the environment has no variable NOT_SET; set it, or write the whole path.\n"
    )


def test_the_way_to_a_file_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "in a workflow folder, which `patchbank init DIR` lays out" in how_to_make("x.json")
    Path("Snakefile").touch()
    assert how_to_make("x.json") == "`snakemake x.json` makes it"


def test_a_folder_is_laid_out_with_everything_and_can_be_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    for name in ("a b", "new/deep", "here"):
        assert cli.main(["init", name]) == 0
        made = {path.relative_to(name) for path in Path(name).rglob("*") if path.is_file()}
        assert made == set(project_files(PROJECT))
        assert sorted(path.name for path in Path(name).iterdir()) == sorted([*PARTS, "results"])
        assert not list(Path(name, "results").iterdir())
        assert Path(name, "config.yaml").stat().st_mode & 0o200
    assert "next: cd 'a b' && snakemake all\n" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b", "here", "new"]


def test_nothing_is_laid_out_over_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("used").mkdir()
    Path("used/thesis.tex").touch()
    Path("file").touch()
    for name, said in (
        ("used", "used is not empty (it holds thesis.tex); name one that is empty or not there yet."),
        ("file", "file cannot be written (Not a directory); name another folder."),
        ("file/x", "file/x cannot be written"),
    ):
        assert cli.main(["init", name]) == 1
        assert said in capsys.readouterr().err
    assert sorted(str(path) for path in Path().rglob("*")) == ["file", "used", "used/thesis.tex"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    def fill_the_disk(source: Path, target: Path) -> None:
        if source.name == "config.yaml":
            raise OSError(28, "No space left on device")
        target.write_bytes(source.read_bytes())

    if exists:
        (tmp_path / "x").mkdir()
    monkeypatch.setattr(lay_out.shutil, "copyfile", fill_the_disk)
    with pytest.raises(UserError, match="No space left on device"):
        lay_out.lay_out(tmp_path / "x")
    assert list(tmp_path.rglob("*")) == ([tmp_path / "x"] if exists else [])


def test_a_copied_package_says_that_it_has_to_be_installed(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "patchbank", ignore=shutil.ignore_patterns("__pycache__", folders.COPY))
    command = [sys.executable, "-m", "patchbank", "data", "check", "msrc", "--config", str(PROJECT / "config.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is a copy without the files that belong to it; install it with pip" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_jobs_get_this_interpreter_and_this_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "a b$c" / "python"
    interpreter.parent.mkdir()
    interpreter.touch()
    (tmp_path / "Snakefile").touch()
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setattr(jobs, "PACKAGE", tmp_path / "patchbank")
    monkeypatch.setenv("PYTHONPATH", "/other")
    for _ in range(2):  # a process may read two Snakefiles
        jobs.start_jobs_alike(str(tmp_path))
        assert sys.executable == f"'{interpreter}'"
        assert os.environ["PYTHONPATH"] == f"{tmp_path}:/other"
    (tmp_path / "Snakefile").unlink()  # installed: it is on the path of every job by itself
    monkeypatch.setenv("PYTHONPATH", "/other")
    jobs.start_jobs_alike(str(tmp_path))
    assert os.environ["PYTHONPATH"] == "/other"
    with pytest.raises(UserError, match="takes braces in its folders' names for wildcards; rename the folder"):
        jobs.start_jobs_alike("/a/{b}")
    (tmp_path / "{1}").mkdir()
    monkeypatch.chdir(tmp_path / "{1}")
    with pytest.raises(UserError, match=r"\{1\}: Snakemake takes braces"):
        jobs.start_jobs_alike(str(tmp_path))
