"""A function over a batch, a group of its rows at a time: what one group needs stays in the processor's cache.

Groups also run side by side in threads, each with one thread of the processor for its operations, which scales where
threads inside small operations do not; and what the backward pass needs is computed again where it would not fit.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

Run = Callable[..., Tensor]
Inputs = tuple[Tensor | None, ...]


def in_groups(
    run: Run, inputs: Sequence[Tensor | None], parameters: Sequence[Tensor], size: int, random: bool, keep: bool
) -> Tensor:
    """Return run(*inputs), computed for `size` rows of the first axis at a time; equal to one call on all rows.

    Parameters
    ----------
    run : maps inputs [b ...], or None, to an output [b ...]; rows must not depend on each other.
    parameters : what `run` learns. Gradients flow to them and to the inputs; there are none of gradients.
    random : whether `run` draws random numbers; groups then run one after the other, so that draws can be repeated.
    keep : hold what the backward pass needs; otherwise compute it again, group by group.

    Examples
    --------
    >>> x = torch.arange(6.0).reshape(3, 2)
    >>> in_groups(torch.square, [x], [], size=2, random=False, keep=True).tolist()
    [[0.0, 1.0], [4.0, 9.0], [16.0, 25.0]]
    """
    rows = next(x.shape[0] for x in inputs if x is not None)
    learns = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (*inputs, *parameters))
    if rows <= size and (keep or not learns):
        return run(*inputs)
    if learns:
        return _Grouped.apply(run, size, random, keep, len(inputs), *inputs, *parameters)

    @torch.no_grad()  # which each thread must be told
    def one(group: Inputs) -> Tensor:
        return run(*group)

    with workers(-(-rows // size), random) as each:
        return torch.cat(list(each(one, _split(inputs, size))))


class _Grouped(torch.autograd.Function):
    """Each group has a graph of its own, so that groups go backward on their own too."""

    @staticmethod
    def forward(ctx: Any, run: Run, size: int, random: bool, keep: bool, count: int, *tensors: Tensor | None) -> Tensor:
        inputs = tensors[:count]
        wanted = ctx.needs_input_grad[5 : 5 + count]
        states: list[tuple] = []

        def one(group: Inputs) -> tuple[Inputs, Tensor]:
            if random:
                states.append((torch.get_rng_state(), get_device_states(*group)))
            with torch.set_grad_enabled(keep):
                return _tracked(run, group, wanted)

        groups = _split(inputs, size)
        with workers(len(groups), random) as each:
            parts = list(each(one, groups))
        ctx.run, ctx.size, ctx.random, ctx.wanted, ctx.states = run, size, random, wanted, states
        ctx.parts = parts if keep else None
        ctx.count, ctx.parameters = count, tensors[count:]
        ctx.save_for_backward(*(x for x in inputs if x is not None))
        ctx.given = [x is not None for x in inputs]
        ctx.device = next(x.device.type for x in inputs if x is not None)
        ctx.autocast = {"enabled": torch.is_autocast_enabled(ctx.device), "dtype": torch.get_autocast_dtype(ctx.device)}
        return torch.cat([output.detach() for _, output in parts])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        refuse_second_derivatives()
        saved = iter(ctx.saved_tensors)
        groups = _split([next(saved) if given else None for given in ctx.given], ctx.size)
        parts, ctx.parts = ctx.parts, None  # let go of; a second pass computes them again
        learned = [p for p in ctx.parameters if p.requires_grad]

        def one(place: int) -> tuple[Tensor | None, ...]:
            leaves, output = parts[place] if parts else _again(ctx, groups[place], place)
            if parts:
                parts[place] = None
            targets = [x for x, want in zip(leaves, ctx.wanted, strict=True) if want]
            return torch.autograd.grad(output, [*targets, *learned], pieces[place], allow_unused=True)

        pieces = gradient.split(ctx.size)
        with workers(len(groups), ctx.random) as each:
            found = list(each(one, range(len(groups))))
        columns = list(zip(*found, strict=True))
        inputs = iter(columns[: sum(ctx.wanted)])
        sums = iter(columns[sum(ctx.wanted) :])
        by_input = zip(ctx.wanted, zip(*groups, strict=True), strict=True)
        joined = [_joined(next(inputs), rows) if want else None for want, rows in by_input]
        totals = [_total(next(sums)) if p.requires_grad else None for p in ctx.parameters]
        return (None,) * 5 + (*joined, *totals)


def _tracked(run: Run, group: Inputs, wanted: Sequence[bool]) -> tuple[Inputs, Tensor]:
    """Run a group on leaves of a new graph."""
    pairs = zip(group, wanted, strict=True)
    leaves = tuple(x.detach().requires_grad_(want) if x is not None else None for x, want in pairs)
    return leaves, run(*leaves)


def _again(ctx: Any, group: Inputs, place: int) -> tuple[Inputs, Tensor]:
    """Run a group as it ran before, with the same random draws and in the same precision."""
    state, (devices, device_states) = ctx.states[place] if ctx.random else (None, ([], []))
    fork = torch.random.fork_rng(devices=devices, enabled=ctx.random)
    with torch.enable_grad(), fork, torch.autocast(ctx.device, **ctx.autocast):
        if ctx.random:
            torch.set_rng_state(state)
            set_device_states(devices, device_states)
        return _tracked(ctx.run, group, ctx.wanted)


def _split(inputs: Sequence[Tensor | None], size: int) -> list[Inputs]:
    rows = next(x.shape[0] for x in inputs if x is not None)
    pieces = [[None] * -(-rows // size) if x is None else x.split(size) for x in inputs]
    return list(zip(*pieces, strict=True))


def _joined(gradients: Sequence[Tensor | None], pieces: Sequence[Tensor]) -> Tensor | None:
    """Put the groups' gradients together again, zero where a group does not use an input; none where no group does."""
    if all(g is None for g in gradients):
        return None
    return torch.cat([torch.zeros_like(x) if g is None else g for g, x in zip(gradients, pieces, strict=True)])


def _total(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Add in the order of groups, so that the sum does not depend on which thread was first."""
    known = [g for g in gradients if g is not None]
    return sum(known[1:], start=known[0]) if known else None


def refuse_second_derivatives() -> None:
    """Raise where a backward pass is itself to be differentiated, which a pass written by hand would leave out."""
    if torch.is_grad_enabled():
        raise RuntimeError("attention here has no second derivatives, found a backward pass with create_graph=True")


def keep_freed_memory() -> None:
    """Let glibc give freed memory back only where 2 GiB lie free at the end of its heap, as torch keeps a GPU's.

    Otherwise training gives gigabytes back to the system in each step, and forecasting in each block, and takes them
    again page by page, which has taken up to half of the time. It holds for the whole process, all of whose threads
    then share one heap (arena), and works best before the first computation. ``ctypes.CDLL(None).malloc_trim(0)`` gives
    back what is free. Elsewhere than on Linux with glibc nothing happens, nor where the environment says how to
    allocate (GLIBC_TUNABLES or a variable that begins with MALLOC_).

    Examples
    --------
    >>> keep_freed_memory() is None  # where there is no glibc, too
    True
    """
    told = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if sys.platform == "linux" and not told and platform.libc_ver()[0] == "glibc":
        for option, value in ((-1, 2**31 - 1), (-3, 2**25), (-8, 1)):  # trim and mmap thresholds, number of arenas
            ctypes.CDLL(None).mallopt(option, value)


@contextmanager
def workers(pieces: int, in_turn: bool = False) -> Iterator[Callable]:
    """Give a map over so many pieces: in as many threads as torch may use, each of which uses one; or in turn."""
    before = torch.get_num_threads()
    threads = min(before, pieces)
    if in_turn or threads < 2 or torch.is_autocast_enabled("cpu"):
        yield map
        return
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
