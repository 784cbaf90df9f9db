"""New days, one at a time, in work proportional to the lookback: keys and values are cached."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from finattn.attention import Context, TimeCache
from finattn.blocks import Block, cut, not_finite
from finattn.errors import InputError
from finattn.storage import atomic_file

if TYPE_CHECKING:
    from finattn.models import PanelTransformer


class Stream:
    """A model that takes up days one after the other; forecasts equal those of the full pass.

    Firms are columns in a fixed order: one that is not listed yet, or no longer, or not observed today, is a column
    with observed False. It can be saved and taken up again.

    Parameters
    ----------
    model : set to evaluation mode, and not to be trained further meanwhile.

    Attributes
    ----------
    day : number of days taken up.
    """

    def __init__(self, model: "PanelTransformer") -> None:
        self.model, self.day = model.eval(), 0
        self.caches = {i: TimeCache(model.lookback) for i, axis in enumerate(model.axes) if axis == "time"}

    def take_up(self, block: Block) -> Self:
        """Take up the days of a block, all at once; afterwards one day at a time."""
        if self.day:
            raise InputError(f"a block of days can be taken up by a new stream alone, found one of {self.day} days")
        if len(block.x):
            with self._in_all_or_none():
                self._advance(block)
            self.day += len(block.x)
        return self

    def advance(
        self,
        x: Tensor,
        observed: Tensor,
        industry: Tensor | None = None,
        neighbours: Tensor | None = None,
        reference: Tensor | None = None,
        reference_observed: Tensor | None = None,
    ) -> Tensor:
        """Take up a day and return its scores [n], NaN where a firm is not observed.

        Parameters
        ----------
        x : inputs [n f]. observed : [n]. industry : groups [n g], neighbours : [n n], reference : [m f'] with
        reference_observed [m]; those that the model's axes need, as in `Block`.
        """
        firms = len(observed)
        held = next((len(cache.observed) for cache in self.caches.values() if cache.day), firms)
        shape = (held, self.model.embedding.in_features)
        if x.shape != shape or observed.shape != shape[:1] or observed.dtype != torch.bool:
            raise InputError(
                f"a day must have x of shape {shape} and observed (bool) of {shape[:1]}, found {tuple(x.shape)} and "
                f"{tuple(observed.shape)} ({observed.dtype})"
            )
        places = not_finite(x, observed)
        if len(places):
            raise InputError(f"x must be finite where observed, found another number of firm {int(places[0])}")
        empty = observed.new_zeros(1, firms)
        groups = observed.new_zeros(firms, 0).int() if industry is None else industry
        day = Block(
            x[None].to(self.model.head.weight.dtype), observed[None], empty.float(), empty, groups[None],
            observed.new_ones(1), empty[:, 0].long(), torch.arange(firms),
            None if reference is None else reference[None], 0,
            None if reference_observed is None else reference_observed[None], neighbours,
        )  # fmt: skip
        with self._in_all_or_none():
            scores = self._advance(day)
        self.day += 1
        return scores

    @contextmanager
    def _in_all_or_none(self) -> Iterator[None]:
        """Let days that an error keeps from some caches be in none of them."""
        before = {i: cache.day for i, cache in self.caches.items()}
        try:
            yield
        except BaseException:
            for i, day in before.items():
                if not day:
                    self.caches[i] = TimeCache(self.model.lookback)
                self.caches[i].day = day  # what was written stands where the next day will be written over it
            raise

    def _advance(self, block: Block) -> Tensor:
        """Take up the days of a block and return the scores of the last one."""
        model, observed = self.model, block.observed
        with torch.inference_mode(False), torch.no_grad():  # a cache made in inference mode could be written only there
            x = model.embed(block.x, observed)
            above = max(self.caches, default=-1)  # above the last time block the last day is on its own
            for i, layer in enumerate(model.layers):
                if i in self.caches:
                    x = self._along_time(i, x, observed, last=i == above)
                else:
                    here = block if i < above else cut(block, slice(len(block.x) - 1, None))
                    x = layer(x[-len(here.x) :], model.context(here, along_time=False))
            return model.score(x[-1]).masked_fill(~observed[-1], torch.nan)

    def _along_time(self, i: int, x: Tensor, observed: Tensor, last: bool) -> Tensor:
        """Take days x [t n d] through a block along time; the last such block gives the last day alone."""
        layer, cache = self.model.layers[i], self.caches[i]
        by_firm = x.transpose(0, 1)
        if last or len(x) == 1:
            return layer.advance(by_firm, observed.T, cache).transpose(0, 1)  # type: ignore[operator]
        _, key, value = layer.attention.project(layer.before(by_firm), Context(observed.T))  # type: ignore[union-attr,operator]
        cache.add(key, value, observed.T)
        return layer(by_firm, Context(observed.T)).transpose(0, 1)

    def save(self, path: str | Path) -> None:
        """Write the caches as one safetensors file, whole or not at all."""
        tensors = {}
        for i, cache in self.caches.items():
            for name in ("keys", "values", "observed"):
                tensors[f"{i}.{name}"] = getattr(cache, name).contiguous()
        with atomic_file(Path(path)) as temporary:
            save_file(tensors, temporary, {"model": fingerprint(self.model), "day": str(self.day)})

    @classmethod
    def load(cls, path: str | Path, model: "PanelTransformer") -> Self:
        """Take up a stream that `save` wrote.

        Raises
        ------
        InputError
            For a file that is no stream, or the stream of a model with other parameters.
        """
        stream = cls(model)
        try:
            with safe_open(path, "pt") as file:
                held = file.metadata() or {}
                if held["model"] != fingerprint(model):
                    raise ValueError("it is of another model, or of other parameters")
                stream.day = int(held["day"])
                for i, cache in stream.caches.items():
                    cache.day = stream.day
                    for name in ("keys", "values", "observed"):
                        setattr(cache, name, file.get_tensor(f"{i}.{name}"))
                    _check(cache, model)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise InputError(f"{path}: must hold a stream of this very model, saved: {problem}") from None
        return stream


def _check(cache: TimeCache, model: "PanelTransformer") -> None:
    """Refuse what `TimeCache.add` would not have made."""
    if cache.day < 0:
        raise ValueError(f"its day must not be negative, found {cache.day}")
    config, firms = model.config, len(cache.observed)
    rows, value_width = (firms, config.heads, model.lookback), config.value_width or config.width // config.heads
    shapes = (*rows, config.head_width), (*rows, value_width), (firms, model.lookback)
    expected = shapes if cache.day else ((0,),) * 3
    found = tuple(tuple(part.shape) for part in (cache.keys, cache.values, cache.observed))
    if found != expected:
        raise ValueError(f"its keys, values and observed must have shapes {expected}, found {found}")


def fingerprint(model: "PanelTransformer") -> str:
    """Return the SHA-256 of a model's axes, configuration and parameters."""
    digest = hashlib.sha256(f"{model.axes} {model.config}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
