"""The shape of a method's folder: its traits, and what each of its modules must offer.

A method is a folder of `patchbank/methods`. Its modules, each with the protocol that it fits:

| module | protocol | there |
|---|---|---|
| `settings.py` | `Configured` | always |
| `predict.py` | `Predictor` | always |
| `train.py` | `Trainable` | where it learns something |
| `infer.py` | `Inferable`, `Untrained` | where it works on pictures outside a bank too, or says why it does not |
| `pictures.py` | `Pictured` | where it shows what it makes on its way to a prediction |
| `published.py` | `Published` | where checkpoints of its published code can be read and written |

`settings.py` declares, where it needs them, also what `Dependent` (traits that follow from settings), `Bounded` (not
every width of tokens will do), `Attentive` (some settings need a class token), `Frugal` (not all stored draws are
read), `Following` (it learns after another row) and `Several` (rows of several names) say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from patchbank.errors import UserError
from patchbank.methods.jobs import PictureJob, PredictJob, TrainJob

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from patchbank.backbones.encoder import ReadBlock
    from patchbank.backbones.tail import ClassTail


@dataclass(frozen=True)
class Traits:
    """Traits of a method.

    Attributes:
        kind: ``segments`` (ids inside one image, given dataset-wide ids by segment clusters) or ``classes``.
        trained: whether there is a `train.py`.
        recipes: recipes of the bank that training reads.
        epochs: whether training reads its banks over several epochs, so that copies on a node's own disk pay
            (`patchbank.bank.scratch`).
        curves: whether `steps.csv` of training holds losses to draw.
        pictures: recipes of the train split's bank that `pictures.draw` of the method's folder reads; empty where it
            has none. They show what the method makes on its way to a prediction.
        reads: recipes of the bank that prediction reads.
        needs: recipes whose settings `resolve` wants to know.
        floor: whether rows are marked as a floor.
        ceiling: whether rows are marked as a ceiling.
        sees_tokens: of a floor, whether it sees the tokens that methods see, so that beating it means something.
        at_counts: of a floor, whether it stands at each method's number of segments, as ``<row>-<segments>``.
        one_seed: whether a floor or ceiling runs with the first seed alone, because no seed changes much in it.
        fitted: whether its clusters are fitted on the split that `fit` names; segments' clusters always are. Classes of
            every other trained method but ceilings are found in training, on train, and its rows say so.
        varying: whether every image has a number of segments of its own, which K only bounds: floors then stand at the
            mean number alone.
        codes: whether its checkpoint gives every token a code, and codes classes (`tools.class_heads.load_coded`), so
            that rows may learn after it (`Following`).
        oracle: split whose labels it used for training or a choice, ``"train"`` or ``"val"``; None for none. Only with
            one do its stages get the `manifest`, and with it the labels.
    """

    kind: Literal["segments", "classes"]
    trained: bool
    recipes: tuple[str, ...] = ()
    epochs: bool = False
    curves: bool = False
    pictures: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("whole",)
    needs: tuple[str, ...] = ()
    floor: bool = False
    ceiling: bool = False
    sees_tokens: bool = False
    at_counts: bool = False
    one_seed: bool = False
    fitted: bool = False
    varying: bool = False
    codes: bool = False
    oracle: Literal["train", "val"] | None = None


@dataclass(frozen=True)
class Option:
    """What the import of a published checkpoint has to be told, as ``--<name> N``.

    Attributes:
        name: of the option.
        help: one line.
        default: value without the option; None where it must be given.
    """

    name: str
    help: str
    default: int | None = None


class TokenModel(Protocol):
    """What `Inferable.load` returns: a torch module from an image's tokens to scores of its segments or classes.

    Attributes:
        record: the checkpoint's record; `backbone` describes the encoder (None where it is not known).
        dim: width D of the tokens.
        segments: number Q of segments.
    """

    record: Mapping[str, Any]
    dim: int
    segments: int

    def scores(self, tokens: Tensor) -> Tensor:
        """Scores (B, Q, N) float32 of tokens (B, N, D) float16 or float32, exactly as stage `predict` computes them."""
        ...

    def __call__(self, tokens: Tensor) -> Tensor:
        """The same from float32 tokens, in plain operations that can be written as ONNX."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move the module."""
        ...


@dataclass(frozen=True)
class Seen:
    """What the encoder says of one picture.

    Attributes:
        id: what is random in a picture is seeded by it: its content id, or what stands for one outside a set.
        grid: (h, w) of the patches, h * w == N.
        tokens: (N, D) float16, as a bank holds them.
        block: of the read block, a batch of one; None where the model does not read it.
        attention: (1, heads, N) class-token row of that block's attention; None as `block`.
        tail: the class token's way from there on; None as `block`.
    """

    id: str
    grid: tuple[int, int]
    tokens: Tensor
    block: ReadBlock | None = None
    attention: Tensor | None = None
    tail: ClassTail | None = None


@runtime_checkable
class PictureModel(Protocol):
    """What `Inferable.load` may return, and `Untrained.make` does: scores of a picture by more than a token's values.

    Attributes:
        record: as of `TokenModel`; `method` names the folder.
        dim: width D of the tokens; 0 where any will do.
        segments: number Q of segments or classes.
        reads_block: whether `Seen.block` and what belongs to it are read; the picture is then squashed whole.
    """

    record: Mapping[str, Any]
    dim: int
    segments: int
    reads_block: bool

    def scores_of(self, seen: Seen) -> Tensor:
        """Scores (Q, N) float32 of one picture, higher is better, exactly as stage `predict` computes them."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move what is computed with."""
        ...


@runtime_checkable
class Configured(Protocol):
    """`settings.py`: what the configuration has to know; it imports nothing that is slow to import."""

    TRAITS: Traits

    def resolve(self, entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        """Complete, checked settings from the method's entry; `UserError` for values that it does not accept.

        Args:
            entry: the entry's values; of a floor or ceiling none but `row` (`Several`) and `segments` (`at_counts`).
            shared: what every k-means of the set has in common (`k`, `kmeans_seeds`, `centre`, `projection`, `kmeans`),
                and under `recipes` the settings of the recipes that `Traits.needs` names.
        """
        ...


@runtime_checkable
class Dependent(Protocol):
    """A `settings.py` whose traits follow from the settings."""

    def traits(self, settings: Mapping[str, Any]) -> Traits:
        """The traits under these settings."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A `settings.py` that does not fit every encoder."""

    def check_width(self, settings: Mapping[str, Any], width: int) -> None:
        """Raise `UserError` when the method cannot work with tokens of that width."""
        ...


@runtime_checkable
class Attentive(Protocol):
    """A `settings.py` some of whose settings need an encoder with a class token."""

    def needs_class_token(self, settings: Mapping[str, Any]) -> str:
        """What under these settings needs one, with the way out, as half a sentence; empty where nothing does."""
        ...


@runtime_checkable
class Frugal(Protocol):
    """A `settings.py` whose training may read fewer draws of an image than are stored."""

    def draws_read(self, settings: Mapping[str, Any], stored: int) -> int:
        """How many of the stored draws are read."""
        ...


@runtime_checkable
class Following(Protocol):
    """A `settings.py` of a method that may learn on the codes of another row of the set (`Traits.codes`)."""

    def after(self, settings: Mapping[str, Any]) -> str:
        """Name of that row, whose checkpoint of the same seed training is given; empty where it reads none."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A `settings.py` that says how long its training is, for a plan of a set's hours."""

    @property
    def CHEAPER(self) -> Mapping[str, Any]:
        """Settings with which it needs fewer or smaller banks."""
        ...

    def training_steps(self, settings: Mapping[str, Any], images: int) -> tuple[int, int]:
        """Steps of a training on so many images, and samples of a step."""
        ...


@runtime_checkable
class Several(Protocol):
    """A `settings.py` that offers several rows, none of them under the folder's own name."""

    @property
    def ROWS(self) -> Mapping[str, Traits]:
        """Traits of each row, by its name."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """`train.py`: from banks to a checkpoint whose record holds at least `method`, `seed` and `settings`."""

    def train(self, job: TrainJob) -> None:
        """Train and write `job.files`; equal jobs give equal tensors."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """`predict.py`: from a bank, and a checkpoint where something was trained, to predictions on the patch grid."""

    def predict(self, job: PredictJob) -> None:
        """Predict every image of the split and write `job.out`."""
        ...


@runtime_checkable
class Inferable(Protocol):
    """`infer.py`: the method on tokens that come from no bank."""

    def load(self, path: str | Path) -> TokenModel | PictureModel:
        """The model of a checkpoint; `UserError` where it is none of this method."""
        ...


@runtime_checkable
class Untrained(Protocol):
    """`infer.py` of a method with rows that train nothing."""

    def make(self, record: Mapping[str, Any], statistics: Path | None) -> PictureModel:
        """The model of a row; `UserError` says why there is none.

        Args:
            record: `method` (the folder), `settings` as resolved, `seed` and `backbone`, as of a checkpoint.
            statistics: those that the row was predicted with; None without a set, where a picture stands for itself.
        """
        ...


@runtime_checkable
class Pictured(Protocol):
    """`pictures.py`: what the method makes on its way to a prediction."""

    def draw(self, job: PictureJob) -> None:
        """Draw some training images and write `job.out`."""
        ...


@runtime_checkable
class Published(Protocol):
    """`published.py`: checkpoints of the published code; it imports nothing that is slow to import."""

    @property
    def OPTIONS(self) -> Sequence[Option]:
        """What the file does not tell."""
        ...

    def import_published(self, source: Path, target: Path, options: Mapping[str, int]) -> None:
        """Write a published checkpoint as one of ours; `UserError` where it is none, or options do not fit it."""
        ...

    def export_published(self, source: Path, target: Path) -> None:
        """Write one of our checkpoints as the published code does; `UserError` where that cannot say it."""
        ...


def refuse_unknown(name: str, entry: Mapping[str, Any], known: Sequence[str] = (), remark: str = "") -> None:
    """Raise `UserError` for keys of a method's entry that it does not have."""
    if any(isinstance(key, bool) for key in entry):
        raise UserError(f"{name}: YAML reads an unquoted on, off, yes or no as true or false, which is no setting.")
    unknown = sorted(set(entry) - set(known))
    if unknown:
        listed = f"known are {', '.join(known)}" if known else "it has no settings of its own"
        raise UserError(f"{name}: unknown {', '.join(unknown)}; {listed}{f' ({remark})' if remark else ''}.")
