"""The tidy table of explanations, and how each was made."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from finattn.errors import InputError
from finattn.storage import atomic_file

COLUMNS = ("date", "firm", "model", "method", "kind", "key", "score")
KINDS = ("lag", "peer", "feature", "reference")
OTHERS = "others"
"""The key of a sum over several keys of a kind: all of a firm's peers, or those too light to be listed."""
TOP = 500  # peers of a forecast that are listed, the heaviest
_HEADER, _MISS = b"finattn.explanation", "completeness_error"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What moved, or was looked at for, the forecasts of some firms on some dates.

    Parameters
    ----------
    table : rows of `COLUMNS`. `kind` says what `key` names: a lag in rows ("0" is the decision's own row), a peer by
        its identifier (the firm itself included), a characteristic, or a firm of a reference universe.
    made : by method, how it was made: baseline, steps, errors of completeness, and so on, as JSON can hold it.

    Raises
    ------
    InputError
        For a table with other columns, an unknown kind, or a score that is no finite number.

    Examples
    --------
    >>> row = {"date": pd.Timestamp("2020-01-02"), "firm": "A", "model": "m", "method": "saliency", "kind": "lag",
    ...        "key": "0", "score": 0.5}
    >>> Explanation(pd.DataFrame([row])).methods
    ('saliency',)
    """

    table: pd.DataFrame
    made: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a table that is no explanation."""
        if list(self.table.columns) != list(COLUMNS):
            raise InputError(f"an explanation must have columns {', '.join(COLUMNS)}, found {list(self.table.columns)}")
        unknown = sorted(set(self.table["kind"].unique()) - set(KINDS))
        if unknown:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, found {unknown[0]!r}")
        scores = pd.to_numeric(self.table["score"], errors="coerce").to_numpy(np.float64)
        if len(bad := np.flatnonzero(~np.isfinite(scores))):
            raise InputError(f"score must be a finite number, found {self.table['score'].iloc[bad[0]]} (row {bad[0]})")

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order of their first rows."""
        return tuple(self.table["method"].unique())

    def of(self, date: Any, firm: str) -> pd.DataFrame:
        """Return the rows of one forecast."""
        return self.table[(self.table["date"] == pd.Timestamp(date)) & (self.table["firm"] == firm)]

    def save(self, path: str | Path) -> None:
        """Write it as Parquet, whole or not at all."""
        arrow = pa.Table.from_pandas(self.table, preserve_index=False)
        made = json.dumps(self.made).encode()
        with atomic_file(Path(path)) as temporary:
            pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _HEADER: made}), temporary)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; InputError for anything else."""
        try:
            arrow = pq.read_table(path)
            return cls(arrow.to_pandas(), json.loads((arrow.schema.metadata or {})[_HEADER]))
        except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
            raise InputError(
                f"{path} must be an explanation that finattn saved: {' '.join(str(error).split())}"
            ) from None


def plain(settings: Any) -> Any:
    """Return settings as JSON holds them: what is no number, text, mapping or list as text."""
    if isinstance(settings, Mapping):
        return {name: plain(value) for name, value in settings.items()}
    if isinstance(settings, tuple | list):
        return [plain(value) for value in settings]
    return settings if isinstance(settings, int | float | str | None) else str(settings)


def join(parts: Iterable[Explanation]) -> Explanation:
    """Put explanations under each other; of a method's errors of completeness the largest stays.

    Raises
    ------
    InputError
        For nothing to join, and for a method that was made in different ways.

    Examples
    --------
    >>> nothing = pd.DataFrame([], columns=COLUMNS)
    >>> join([Explanation(nothing, {"m": {_MISS: 0.1}}), Explanation(nothing, {"m": {_MISS: 0.3}})]).made
    {'m': {'completeness_error': 0.3}}
    """
    parts = list(parts)
    if not parts:
        raise InputError("explanations to join must be at least one, found none")
    made: dict[str, dict[str, Any]] = {}
    for method, how in ((method, dict(how)) for part in parts for method, how in part.made.items()):
        before = made.setdefault(method, how)
        if before | {_MISS: None} != how | {_MISS: None}:
            raise InputError(f"explanations to join must be made alike, found {method!r} by {before} and by {how}")
        if _MISS in how:
            made[method] = how | {_MISS: max(before[_MISS], how[_MISS])}
    return Explanation(pd.concat([part.table for part in parts], ignore_index=True), made)
