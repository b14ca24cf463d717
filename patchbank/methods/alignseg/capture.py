"""A training step recorded once and replayed as one CUDA graph.

On a GPU a step is about two hundred small kernels; launching them one by one takes longer than running them. A graph is
launched at once, so that the GPU, not Python, sets the pace. See https://pytorch.org/docs/stable/notes/cuda.html.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

LOG = logging.getLogger(__name__)
WARM_UP = 3
"""Steps before the recording: libraries initialise and AdamW makes its moments, which a recording must not contain."""


class CapturedStep:
    """`step`, replayed from a CUDA graph.

    The first `WARM_UP` calls run as they are, but on the stream of the recording (gradients remember theirs); the next
    call records, and every call from there replays. Inputs are copied to where the recording reads them, so their
    shapes must not change. Where recording fails, a warning says so and every step runs as it is.

    Args:
        step: a function of tensors on the GPU that never waits for it; what it changes stays where it is in memory.
        device: that GPU.
    """

    def __init__(self, step: Callable[..., Tensor], device: torch.device) -> None:
        self._step, self._calls = step, 0
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._result = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """One step; the result is valid until the next call."""
        self._calls += 1
        if self._calls == WARM_UP + 1:
            self._graph = self._record(inputs)
        if self._graph is None:
            return self._as_it_is(inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._result

    def _as_it_is(self, inputs: tuple[Tensor, ...]) -> Tensor:
        outer = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outer)
        with torch.cuda.stream(self._stream):
            result = self._step(*inputs)
        outer.wait_stream(self._stream)
        return result

    def _record(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph | None:
        """Record the step without running it."""
        self._inputs = tuple(given.clone() for given in inputs)
        graph, outer = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._stream.device)
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._result = self._step(*self._inputs)
        except RuntimeError as error:
            LOG.warning("AlignSeg: no CUDA graph of the step (%s); kernels are launched one by one, slower", error)
            torch.cuda.set_stream(outer)  # torch stays on the stream of a recording that fails at its end
            return None
        return graph
