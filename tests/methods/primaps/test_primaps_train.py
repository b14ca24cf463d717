"""PriMaPs' proposals, pseudo labels and stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_world import RECIPES, RUNS, SHARED, Killed, head_world, job_of, kill_at, tensors_of, train_in
from hypothesis import given
from hypothesis import strategies as st
from jobs import predict_job

from patchbank.bank.reader import open_bank
from patchbank.errors import UserError
from patchbank.methods.contract import make_model, run_predict, run_train
from patchbank.methods.primaps import stored
from patchbank.methods.primaps import train as stage
from patchbank.methods.primaps.proposals import NONE, Rule, log_probabilities, most_frequent, soft_masks
from patchbank.methods.primaps.prototypes import Prototypes, Teacher, principal_directions
from patchbank.methods.primaps.settings import resolve, traits
from patchbank.methods.primaps.step import focal_loss, pseudo_labels
from patchbank.methods.shape import Seen
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]


def settings(**own: Any) -> dict[str, Any]:
    return resolve({**RUNS["primaps"], **own}, SHARED)


def blocks_image() -> torch.Tensor:
    """Tokens (64, 5) of an 8x8 grid: left, top right and bottom right are alike inside."""
    kind = np.zeros((8, 8), int)
    kind[:4, 4:], kind[4:, 4:] = 1, 2
    directions = np.eye(5)[:3] * 3
    noise = np.random.default_rng(0).normal(0, 0.05, (64, 5))
    return torch.from_numpy(directions[kind.ravel()] + noise).float()


def test_proposals_of_an_image_of_three_parts_are_these() -> None:
    masks, counts = soft_masks(blocks_image(), Rule())
    labels = log_probabilities(masks, (8, 8)).argmax(0).numpy()
    assert counts[0] == 64
    parts = [labels[:, :3], labels[:3, 5:], labels[5:, 5:]]  # the median rounds the corner where they meet
    assert [len(np.unique(part)) for part in parts] == [1, 1, 1]
    assert {int(part[0, 0]) for part in parts} == {1, 2, 3}


@given(st.integers(0, 10**6), st.sampled_from([-1.0, 1.0, 4.0]))
def test_proposals_cover_their_image_and_do_not_overlap(seed: int, scale: float) -> None:
    tokens = torch.randn(36, 6, generator=torch.Generator().manual_seed(seed)) * scale
    masks, counts = soft_masks(tokens, Rule())
    assert ((masks > 0).sum(0) <= 1).all()
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == len(counts), "every proposal covers something new"
    assert (masks.amax(1) == 1).all()
    assert torch.isfinite(log_probabilities(masks, (6, 6))).all()


def test_the_number_of_proposals_has_a_limit_and_tokens_without_direction_have_none() -> None:
    tokens = torch.randn(36, 6, generator=torch.Generator().manual_seed(1))
    assert len(soft_masks(tokens, Rule(0.9))[0]) > 3
    assert len(soft_masks(tokens, Rule(0.9, most=3))[0]) == 3
    nothing, _ = soft_masks(torch.zeros(36, 6), Rule())
    assert log_probabilities(nothing, (6, 6)).argmax(0).unique().tolist() == [0]


def test_names_of_proposals_are_most_frequent_classes_the_lowest_on_ties() -> None:
    labels = torch.tensor([[1, 1, 1, 1], [2, 2, 2, NONE], [3, 3, NONE, NONE]])
    classes = torch.tensor([[4, 0, 4, 0], [2, 3, 3, 1], [1, 1, 0, 0]])
    expected = torch.tensor([[0, 0, 0, 0], [3, 3, 3, NONE], [1, 1, NONE, NONE]])
    assert torch.equal(most_frequent(labels, classes, 5), expected)
    nothing = torch.full((2, 2), NONE)
    assert torch.equal(most_frequent(nothing, torch.zeros(2, 2, dtype=torch.long), 5), nothing)


def test_class_255_is_a_class_like_any_other() -> None:
    labels, classes = torch.ones(1, 4, dtype=torch.long), torch.full((1, 4), 255)
    assert torch.equal(most_frequent(labels, classes, 300), classes)
    logits = torch.zeros(1, 300, 1, 4)
    assert focal_loss(logits, classes[:, None], 0.0).item() == pytest.approx(np.log(300))


def test_pseudo_labels_of_several_classes() -> None:
    teacher = Prototypes(torch.eye(3))
    tokens = torch.eye(3)[torch.tensor([[0, 0, 1, 2], [2, 2, 1, 1]])]
    masks = torch.tensor([[[1, 1, 1, 2]], [[1, 1, NONE, 2]]])
    expected = torch.tensor([[[0, 0, 0, 2]], [[2, 2, NONE, 1]]])
    assert torch.equal(pseudo_labels(teacher, tokens, masks, (1, 4)), expected)


def test_the_focal_loss_of_a_hand_computed_case() -> None:
    """Two points of equal probabilities: the weight is (1 - 1/2)^2, one of two points counts."""
    logits = torch.zeros(1, 2, 1, 2)
    labels = torch.tensor([[[1, NONE]]])
    assert focal_loss(logits, labels, 2.0).item() == pytest.approx(0.25 * np.log(2) / 2)


def test_the_teacher_copies_twice_then_follows() -> None:
    student = Prototypes(torch.zeros(1, 2))
    teacher = Teacher(student, 0.7, 2)
    seen = []
    for step in range(11):
        student.direction.data.fill_(step)
        teacher.after_step(student, step)
        seen.append(teacher.prototypes.direction[0, 0].item())
    third = 4 * (1 - 1 / 3) + 6 / 3
    fourth = third * 0.7 + 8 * 0.3
    assert seen == pytest.approx([0, 0, 2, 2, 4, 4, third, third, fourth, fourth, fourth * 0.7 + 3])


def test_more_classes_than_the_tokens_are_wide_have_different_starts() -> None:
    tokens = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    found = principal_directions([tokens], 6)
    assert found.shape == (6, 3)
    assert len({tuple(row) for row in found.round(decimals=4).tolist()}) == 6


@pytest.mark.parametrize(
    "own",
    [
        {"stage": "baseline"},
        {"views": "center320", "size": 16, "centre": "none"},
        {"views": "five", "reference": True},
        {"student": "recoloured"},
        {"refine": "pamr", "size": 40},
    ],
)
def test_every_choice_trains_and_repeats_bit_by_bit(
    own: dict[str, Any], head_world: dict[str, Path], tmp_path: Path
) -> None:
    first = train_in(head_world, "primaps", tmp_path / "a", settings(**own), traits)
    second = train_in(head_world, "primaps", tmp_path / "b", settings(**own), traits)
    assert tensors_of(first) == tensors_of(second)
    assert tensors_of(first) != tensors_of(train_in(head_world, "primaps", tmp_path / "c", settings(**own), traits, 1))


@pytest.mark.parametrize(("step", "student"), [(2, "same"), (7, "same"), (7, "recoloured")])
def test_a_killed_training_ends_as_if_nothing_had_happened(
    step: int, student: str, head_world: dict[str, Path], tmp_path: Path
) -> None:
    """Four steps of the baseline, then eight of EM."""
    whole = train_in(head_world, "primaps", tmp_path / "whole", settings(student=student), traits)
    job = train_in.job(head_world, "primaps", tmp_path / "killed", settings(student=student), traits)
    with pytest.raises(Killed):
        stage.train(job, kill_at(step))
    seen: list[int] = []
    stage.train(job, seen.append)
    assert seen == list(range((step + 1) // 2 * 2, 12))
    assert tensors_of(job.files.checkpoint) == tensors_of(whole)
    assert job.files.steps_csv.read_text() == (tmp_path / "whole" / "steps.csv").read_text()


def test_proposals_are_segments_of_images_and_need_no_training(head_world: dict[str, Path], tmp_path: Path) -> None:
    own = resolve({"stage": "proposals", "most": 9}, SHARED)
    of = traits(own)
    assert (of.kind, of.trained, of.recipes) == ("segments", False, ())
    given: dict[str, Any] = {"banks": {"whole": head_world["val-whole"]}, "statistics": head_world["statistics"]}
    run_predict(predict_job("primaps", tmp_path / "val.h5", settings=own, **given))
    with PredictionReader(tmp_path / "val.h5") as reader:
        assert (reader.record.kind, reader.variants) == ("segments", {"segments": 10})
        labels = reader.labels("segments", 0, len(reader.images))
        assert labels.shape[1:] == open_bank(given["banks"]["whole"]).grid
        assert len(np.unique(labels)) > 1
    of_before = {name: value for name, value in own.items() if name not in ("refine", "student")}
    record = {"method": "primaps", "settings": of_before, "seed": 0}
    model, bank = make_model(record, head_world["statistics"]), open_bank(given["banks"]["whole"])
    for row, image in enumerate(bank.images):
        tokens = torch.from_numpy(bank.read([row], ("tokens",))["tokens"][0, 0])
        found = model.scores_of(Seen(image, bank.grid, tokens)).argmax(0).view(bank.grid).numpy()
        np.testing.assert_array_equal(found, labels[row])
    with pytest.raises(UserError, match="learns prototypes"):
        make_model({**record, "settings": resolve({}, SHARED)}, None)


def test_a_student_of_central_squares_and_one_on_codes_train_and_repeat(
    head_world: dict[str, Path], tmp_path: Path
) -> None:
    learned = job_of(head_world, "stego", tmp_path / "stego")
    run_train(learned)
    known = {**head_world, "stego": learned.files.checkpoint}
    squares = {**known, "recoloured": head_world["recoloured-center320"]}
    recipes = {**RECIPES, "recoloured": {**RECIPES["recoloured"], "of": "center320", "size": [64, 64]}}
    own = {"student": "recoloured", "views": "center320"}
    cases = [
        (squares, resolve({**RUNS["primaps"], **own}, {**SHARED, "recipes": recipes})),
        (known, settings(student="recoloured", codes="stego", start_epochs=0)),
    ]
    for number, (world, chosen) in enumerate(cases):
        one, two = (train_in(world, "primaps", tmp_path / f"{number}{name}", chosen, traits) for name in "ab")
        assert tensors_of(one) == tensors_of(two)
        plain = {**chosen, "student": "same"}
        assert tensors_of(one) != tensors_of(train_in(world, "primaps", tmp_path / f"{number}c", plain, traits))


def test_the_student_learns_from_views_in_other_colours_that_it_draws_anew_in_every_step(
    head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[np.ndarray] = []
    bank = open_bank(head_world["recoloured"])
    plain = stage.TrainingViews.read

    def watched(self: Any, samples: np.ndarray, **rest: Any) -> torch.Tensor:
        if self.bank.record["recipe"]["name"] == "recoloured":
            read.append(samples * 4 + rest["draws"])
        return plain(self, samples, **rest)

    monkeypatch.setattr(stage.TrainingViews, "read", watched)
    train_in(head_world, "primaps", tmp_path / "a", settings(student="recoloured"), traits)
    assert bank.draws == 4
    assert len(read) == 8, "steps of EM, none of the baseline"
    drawn = np.concatenate(read)
    for start in (0, 8, 16, 24):  # two steps of four of nine images are an epoch
        images = drawn[start : start + 8] // 4
        assert len(set(images.tolist())) == 8
    assert set((drawn % 4).tolist()) == {0, 1, 2, 3}
    same = train_in(head_world, "primaps", tmp_path / "b", settings(), traits)
    assert len(read) == 8
    assert tensors_of(same) != tensors_of(tmp_path / "a" / "checkpoint.safetensors")


def test_a_student_that_would_see_something_else_is_refused(head_world: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"student is 'recoloured', and views is 'five': choose whole \| center320"):
        settings(student="recoloured", views="five")
    with pytest.raises(UserError, match="student is 'recoloured', which stage: baseline does not read"):
        settings(student="recoloured", stage="baseline")
    with pytest.raises(
        UserError, match=r"set recipes\.recoloured\.of to 'center320', recipes\.recoloured\.size to 64\."
    ):
        settings(student="recoloured", views="center320")
    dense = {**RECIPES, "whole": {**RECIPES["whole"], "shift": 2}}
    with pytest.raises(UserError, match=r"student's views have to be those of whole; set recipes\.whole\.shift to 1\."):
        resolve({"student": "recoloured"}, {**SHARED, "recipes": dense})
    job = train_in.job(
        {**head_world, "recoloured": head_world["center320"]},
        "primaps",
        tmp_path,
        settings(student="recoloured"),
        traits,
    )
    with pytest.raises(UserError, match=r"does not hold the views of .* in other colours, .* instead of .*name banks"):
        stage.train(job)
    swapped = {**head_world, "center320": head_world["whole"], "recoloured": head_world["recoloured"]}
    own = {**settings(student="recoloured"), "views": "center320"}
    stage.train(train_in.job(swapped, "primaps", tmp_path / "fits", own, traits))
    swapped["recoloured"] = head_world["recoloured-center320"]
    with pytest.raises(UserError, match="does not hold the views of"):
        stage.train(train_in.job(swapped, "primaps", tmp_path / "not", own, traits))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError, match=r"stage is 'all', choose em .*; views is 'random'.*; most is 300"):
        settings(stage="all", views="random", most=300)


def test_proposals_refuse_what_only_a_training_reads() -> None:
    with pytest.raises(UserError, match=r"views is 'five', which stage: proposals does not read.*; mirror is True"):
        resolve({"stage": "proposals", "mirror": True, "views": "five"}, SHARED)
    with pytest.raises(UserError, match=r"most is 3\.7, it must be a whole number"):
        resolve({"stage": "proposals", "most": 3.7}, SHARED)


def test_proposals_are_made_once_for_all_seeds_and_go_on_where_they_were_cut(
    head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    plain = stored.soft_masks

    def counted(tokens: torch.Tensor, rule: Rule) -> tuple[torch.Tensor, list[int]]:
        made.append(1)
        if len(made) == stop:
            raise Killed
        return plain(tokens, rule)

    monkeypatch.setattr(stored, "soft_masks", counted)
    monkeypatch.setattr(stored, "_BLOCK", 2)
    stop = 6
    job = train_in.job(head_world, "primaps", tmp_path / "a", settings(), traits)
    with pytest.raises(Killed):
        stage.train(job)
    stop = -1
    made.clear()
    stage.train(job)
    views = len(open_bank(job.banks["whole"]).images)
    assert len(made) == views - 4
    made.clear()
    other = train_in.job(head_world, "primaps", tmp_path / "b", settings(), traits, 1)
    stage.train(replace(other, state_root=job.state_root))
    assert made == []
    stage.train(train_in.job(head_world, "primaps", tmp_path / "c", settings(), traits))
    assert len(made) == views
    assert tensors_of(job.files.checkpoint) == tensors_of(tmp_path / "c" / job.files.checkpoint.name)
    made.clear()
    changed = train_in.job(head_world, "primaps", tmp_path / "d", settings(threshold=0.5), traits)
    stage.train(replace(changed, state_root=job.state_root))
    assert len(made) == views
