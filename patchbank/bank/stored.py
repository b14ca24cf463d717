"""Rows on their way from the encoder's device to the disk: in the stored dtypes, checked and summed up.

On a CPU tokens are cast where they are, and nothing is copied. On a GPU cast, check and sums run on the device behind
the forward pass; what comes of them, and nothing else, crosses the bus into page-locked buffers, on a stream of its
own, so that neither the next pass nor the process waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from patchbank.bank.cast import cast
from patchbank.bank.coding import Coding
from patchbank.bank.encode import Pictures
from patchbank.bank.sums import Sums
from patchbank.errors import UserError
from patchbank.views.fields import Shapes


@dataclass(frozen=True)
class Stored:
    """Rows as they stand in a shard.

    Attributes:
        images: content id of each row.
        fields: every field but `image`, (rows, ...), in the stored dtype.
        sums: of `tokens`, where the rows have any.
    """

    images: Sequence[str]
    fields: Mapping[str, NDArray[Any]]
    sums: Sums | None


class Rows:
    """Rows whose values may still be on their way.

    Args:
        images: content id of each row.
        fields: every field but `image`, (rows, ...), as the encoder said them; read again only for a message.
        values: the same in the stored dtype, on the host.
        copied: the values are there when it has happened; None where they are.
        checks: sums of the fields, finite where the field is, and the moments of `tokens`, as `device_checks` makes
            them; None where the host still has to make them.
        slot: buffers that `values` lie in, and where they go when the rows are written.
        given: coded tokens as readers will be given them; None where they are not coded, or `checks` are made of them.
    """

    def __init__(
        self,
        images: Sequence[str],
        fields: Mapping[str, torch.Tensor],
        values: Mapping[str, torch.Tensor],
        copied: torch.cuda.Event | None = None,
        checks: Mapping[str, torch.Tensor] | None = None,
        slot: tuple[Buffers, deque[Buffers]] | None = None,
        given: torch.Tensor | None = None,
    ) -> None:
        self.images, self._fields, self._values, self._given = images, fields, values, given
        self._copied, self._checks, self._slot = copied, checks, slot

    def wait(self) -> Stored:
        """The rows.

        Raises:
            UserError: for a value that is not finite, or beyond the stored dtype; it names image, view and channel.
        """
        if self._copied is not None:
            self._copied.synchronize()
        arrays = {name: value.numpy() for name, value in self._values.items()}
        if self._checks is None:
            tokens = arrays.get("tokens") if self._given is None else self._given.numpy()
            sums = None if tokens is None else Sums.of(_flat(tokens))
            finite = {name: bool(np.isfinite(array).all()) for name, array in arrays.items() if name != "tokens"}
            if sums is not None:
                finite["tokens"] = bool(np.isfinite(sums.total).all())
        else:
            sums = _sums(self._checks, arrays)
            finite = {name: bool(check.isfinite().all()) for name, check in self._checks.items()}
        for name in (name for name in arrays if not finite.get(name, True)):
            raise _refused(name, self._fields[name], arrays[name], self.images)
        self._fields, self._given = {}, None
        return Stored(self.images, arrays, sums)

    def done(self) -> None:
        """The rows are written: their buffers may be used again."""
        if self._slot is not None:
            buffers, free = self._slot
            free.append(buffers)
            self._slot = None


Buffers = dict[str, torch.Tensor]
"""Page-locked tensors, one for every field and check."""


class Outlet:
    """The way of rows from a device to the host.

    Args:
        device: of the encoder.
        shapes: of a row's fields (`patchbank.bank.encode.row_shapes`).
        rows: most rows that are sent at once.
        slots: how many sendings may be under way or waiting to be written.
        coding: of the tokens; None for none.
    """

    def __init__(
        self, device: torch.device, shapes: Shapes, rows: int, slots: int, coding: Coding | None = None
    ) -> None:
        self._coding = coding
        self._dtypes = {name: torch.from_numpy(np.empty(0, dtype)).dtype for name, (_, dtype) in shapes.items()}
        self._stream = _stream(device) if device.type == "cuda" else None
        self._free: deque[Buffers] = deque()
        self._shapes, self._rows, self._unmade = shapes, rows, slots

    def send(self, images: Sequence[str], fields: Mapping[str, torch.Tensor]) -> Rows:
        """Cast rows, and set off with them; returns at once.

        Args:
            images: content id of each row.
            fields: every field but `image`, (rows, ...), on any device.
        """
        said = fields if self._coding is None else {**fields, "tokens": self._coding.project(fields["tokens"])}
        stored = {name: cast(said[name], dtype) for name, dtype in self._dtypes.items() if dtype != torch.int8}
        given = None
        if self._coding is not None and self._coding.step is not None:
            codes, given = _coded(self._coding, said["tokens"])
            stored = {"tokens": codes, **stored}
        if self._stream is None:
            return Rows(images, said, stored, given=given)
        checks = device_checks(stored if given is None else {**stored, "tokens": given})
        buffers = self._buffers(checks)
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            copies = {name: _copy(value, buffers[name][: len(value)]) for name, value in stored.items()}
            sums = {name: _copy(value, buffers[f"check {name}"]) for name, value in checks.items()}
            copied: torch.cuda.Event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            copied.record(self._stream)
        return Rows(images, said, copies, copied, sums, (buffers, self._free))

    def _buffers(self, checks: Mapping[str, torch.Tensor]) -> Buffers:
        """Buffers that nobody uses."""
        if self._free:
            return self._free.popleft()
        if not self._unmade:
            raise RuntimeError("more rows are under way than there are buffers")
        self._unmade -= 1
        shapes = {name: ((self._rows, *self._shapes[name][0]), dtype) for name, dtype in self._dtypes.items()}
        sums = {f"check {name}": (tuple(check.shape), check.dtype) for name, check in checks.items()}
        return {
            name: torch.empty(shape, dtype=dtype, pin_memory=True)
            for name, (shape, dtype) in {**shapes, **sums}.items()
        }


def device_checks(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What says of stored fields (rows, ...) whether all values are finite, made where they are, float64.

    Returns:
        `tokens`: (3, D) sum, sum of squares and of squares about the mean; for every other field of floating numbers
        the sum of all of it, which is finite where every value is.
    """
    checks = {
        name: value.sum(dtype=torch.float64)
        for name, value in stored.items()
        if name != "tokens" and value.is_floating_point()
    }
    if "tokens" in stored:
        tokens = stored["tokens"].flatten(0, -2).double()
        moved = tokens - tokens[0]
        about_mean = moved.square().sum(0) - moved.sum(0).square() / len(tokens)
        checks["tokens"] = torch.stack([tokens.sum(0), tokens.square().sum(0), about_mean.clamp(min=0)])
    return checks


def uploaded(
    batches: Iterator[tuple[Any, Pictures | str]], device: torch.device
) -> Iterator[tuple[Any, Pictures | str]]:
    """Batches whose pixels are on the encoder's device: while one is encoded, the next one crosses the bus.

    Args:
        batches: whatever belongs to a batch, and its pictures in page-locked memory or what is wrong with them.
        device: of the encoder.
    """
    if device.type != "cuda":
        yield from batches
        return
    stream, current = _stream(device), torch.cuda.current_stream(device)

    def arrived(batch: tuple[Any, Pictures | str], event: torch.cuda.Event) -> tuple[Any, Pictures | str]:
        current.wait_event(event)
        if not isinstance(batch[1], str):
            batch[1][0].record_stream(current)
        return batch

    ahead: tuple[tuple[Any, Pictures | str], torch.cuda.Event] | None = None
    for what, pictures in batches:
        with torch.cuda.stream(stream):
            if not isinstance(pictures, str):
                pictures = (pictures[0].to(device, non_blocking=True), *pictures[1:])
            sent = ((what, pictures), stream.record_event())
        if ahead is not None:
            yield arrived(*ahead)
        ahead = sent
    if ahead is not None:
        yield arrived(*ahead)


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _copy(value: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    """Set off with a copy on the current stream; `buffer` holds it when the stream has come so far."""
    buffer.copy_(value, non_blocking=True)
    if value.is_cuda:
        value.record_stream(torch.cuda.current_stream(value.device))
    return buffer


def _coded(coding: Coding, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of tokens, and what readers will be given for them, which is not finite where the token is not."""
    codes = coding.encode(tokens)
    given = coding.decode(codes)
    return codes, given.add_(tokens - tokens)


def _flat(tokens: NDArray[Any]) -> NDArray[Any]:
    return tokens.reshape(-1, tokens.shape[-1])


def _sums(checks: Mapping[str, torch.Tensor], arrays: Mapping[str, NDArray[Any]]) -> Sums | None:
    """What `device_checks` says of tokens; copied, because the buffers are used again."""
    if "tokens" not in checks:
        return None
    total, square, about_mean = checks["tokens"].numpy().copy()
    return Sums(len(_flat(arrays["tokens"])), total, square, about_mean)


def _refused(name: str, values: torch.Tensor, stored: NDArray[Any], images: Sequence[str]) -> UserError:
    """Names the first value that cannot be stored."""
    kept = stored if stored.dtype.kind == "f" else values.cpu().numpy()
    row, view, *rest = (int(i) for i in np.argwhere(~np.isfinite(kept))[0])
    channel = rest[-1] if rest else view
    value = float(values[(row, view, *rest)])
    return UserError(
        f"image {images[row]}, view {view}, channel {channel}: {name} is {value}, which {stored.dtype} cannot hold; "
        "set extract.dtype to float32, or look at the image and the backbone."
    )
