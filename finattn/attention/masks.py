"""Which key a query may attend to: one function, all conditions."""

from functools import reduce
from operator import and_

import torch
from torch import Tensor

from finattn.errors import InputError


def allowed(
    queries: int,
    keys: int,
    *,
    offset: int = 0,
    causal: bool = False,
    lookback: int | None = None,
    observed: Tensor | None = None,
    listed: Tensor | None = None,
    group: Tensor | None = None,
    key_group: Tensor | None = None,
    itself: bool = True,
    neighbours: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor | None:
    """Return the mask of the keys that meet every condition given; query i stands at key offset + i.

    Parameters
    ----------
    queries : t. keys : s. offset : key position of the first query.
    causal : keys up to the query's own. lookback : of these the last so many, the query's own included.
    observed, listed : [... s] bool, keys that are there.
    group : [... t] codes; a query sees the keys of its own code. key_group : [... s] codes of the keys, if they are not
        the queries themselves. Code 0 is unknown: it equals no other, and such a query sees key offset + i alone.
    itself : False leaves key offset + i out for query i. Where no key is the query's own, an offset beyond the keys
        says so.
    neighbours : [... t s] bool.
    device : of the mask; by default that of the tensors given.

    Returns
    -------
    bool, broadcastable to [... t s], True may be attended to, with a query axis of size 1 if the conditions are on keys
    alone; None if there is no condition.

    Raises
    ------
    InputError
        For a lookback that is not causal or below one, key_group without group, or sizes that do not fit.

    Examples
    --------
    >>> allowed(2, 4, offset=2, causal=True, lookback=2).int().tolist()
    [[0, 1, 1, 0], [0, 0, 1, 1]]
    >>> allowed(3, 3, group=torch.tensor([7, 0, 7])).int().tolist()
    [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    """
    if lookback is not None and (not causal or lookback < 1):
        raise InputError(f"lookback must be causal and at least 1, found {lookback} with causal={causal}")
    given = [x for x in (observed, listed, group, neighbours) if x is not None]
    device = device or (given[0].device if given else None)
    behind = offset + torch.arange(queries, device=device)[:, None] - torch.arange(keys, device=device)
    conditions = [
        _of(x, keys, name)[..., None, :] for x, name in ((observed, "observed"), (listed, "listed")) if x is not None
    ]
    if causal:
        conditions.append(behind >= 0 if lookback is None else (behind >= 0) & (behind < lookback))
    if not itself:
        conditions.append(behind != 0)
    if group is not None or key_group is not None:
        conditions.append(_same_group(group, key_group, behind))
    if neighbours is not None:
        conditions.append(_of(neighbours, keys, "neighbours"))
    return reduce(and_, conditions) if conditions else None


def _same_group(group: Tensor | None, key_group: Tensor | None, behind: Tensor) -> Tensor:
    """Return [... t s]: equal codes other than zero, and oneself."""
    queries, keys = behind.shape
    if group is None:
        raise InputError("key_group needs group, the codes of the queries, found none")
    if key_group is None:
        if queries != keys:
            raise InputError(f"group without key_group needs as many queries as keys, found {queries} and {keys}")
        key_group = group
    group, key_group = _of(group, queries, "group")[..., :, None], _of(key_group, keys, "key_group")[..., None, :]
    return ((group == key_group) & (group != 0)) | (behind == 0)


def _of(x: Tensor, size: int, name: str) -> Tensor:
    if x.shape[-1] != size:
        raise InputError(f"{name} must have {size} entries on its last axis, found {x.shape[-1]}")
    return x
