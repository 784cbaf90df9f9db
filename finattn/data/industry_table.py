"""Names and industries of firms from a table of their own, with or without the days on which they were valid."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from finattn.checks import some
from finattn.config import DataConfig
from finattn.data.asof import spans
from finattn.data.columns import firm_places
from finattn.data.open_table import open_table
from finattn.data.table_files import existing, located
from finattn.data.targets import read_codes
from finattn.errors import InputError
from finattn.panel import Panel


def with_industries(panel: Panel, config: DataConfig) -> Panel:
    """Return the panel with the codes, and names, of the table `config.industries`.

    A table with columns start and end, a row for each stretch of days, is joined as `finattn.data.asof.spans` does; one
    without has a row a firm, and its codes stand on all dates, so that `industry_as_of` must be false. Codes are a
    column industry or, with `industry_levels`, made of columns of text: each level's words within the level above,
    sorted and numbered from 1, with as many digits as the most numerous need; ``source["industry_levels"]`` says which
    code is what.

    Returns
    -------
    Panel whose ``source["industries"]`` counts the firms of the panel `without_industry` and the table's rows
    `of_unknown_firms`.

    Raises
    ------
    InputError
        Naming the file, for missing columns, firms that are there twice, codes that are none, and a panel that has
        industries already.
    """
    path = existing(config.industries, "data.industries")
    words = tuple(config.industry_levels)
    table = open_table(path, config.industries_columns, text=("firm", "name", "start", "end", *words))
    with located(path):
        frame = table.frame()
        if (panel.industry != 0).any():
            raise InputError("industries must come from one place, found codes in the panel's own files too")
        missing = [name for name in ("firm", *(words or ("industry",))) if name not in frame.columns]
        if missing:
            raise InputError(f"a table of industries must have columns, found no {', '.join(missing)}")
        widths: tuple[int, ...] = tuple(config.industry_widths)
        levels: dict[str, str] = {}
        if words:
            frame["industry"], widths, levels = number_levels(frame[list(words)])
        codes = _dated(panel, frame) if "start" in frame.columns else _static(panel, frame, config.industry_as_of)
        names = _names(panel, frame) if "name" in frame.columns else panel.names
    place = firm_places(panel, frame, "firm")
    counts = {
        "rows": len(frame),
        "of_unknown_firms": int((place < 0).sum()),
        "without_industry": int((codes == 0).all(axis=0).sum()),
    }
    source = {**panel.source, "industries": {"file": path.name, "counts": counts}}
    if levels:
        source["industry_levels"] = levels
    return panel.replace(
        industry=codes,
        names=names,
        industry_scheme=config.industry_scheme,
        industry_widths=widths,
        industry_as_of=config.industry_as_of,
        source=source,
    )


def number_levels(words: pd.DataFrame) -> tuple[np.ndarray, tuple[int, ...], dict[str, str]]:
    """Return codes of words in columns from the coarsest level to the finest, 0 where one is missing.

    Returns
    -------
    Codes (r,), the widths of a panel's levels (finest first), and each code's words.

    Examples
    --------
    >>> words = pd.DataFrame({"sector": ["Oil", "Banks", "Oil"], "kind": ["Wells", "Banks", "Pipes"]})
    >>> number_levels(words)
    (array([22, 11, 21]), (2, 1), {'11': 'Banks / Banks', '21': 'Oil / Pipes', '22': 'Oil / Wells'})
    """
    known = (words.notna() & (words.astype(object) != "")).all(axis=1).to_numpy()
    rows = list(words[known].astype(str).itertuples(index=False, name=None))
    codes, digits = dict.fromkeys(sorted({row[:0] for row in rows} or {()}), 0), []
    for depth in range(1, words.shape[1] + 1):
        numbers, codes_above = _within(sorted({row[:depth] for row in rows})), codes
        digits.append(len(str(max(numbers.values(), default=1))))
        codes = {key: codes_above[key[:-1]] * 10 ** digits[-1] + number for key, number in numbers.items()}
    result = np.zeros(len(words), np.int64)
    result[known] = [codes[row] for row in rows]
    widths = tuple(int(width) for width in np.cumsum(digits)[::-1])
    return result, widths, {str(code): " / ".join(key) for key, code in codes.items()}


def _within(keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """Give sorted keys numbers from 1 within each key that is shorter by one word."""
    counts: dict[tuple[str, ...], int] = {}
    numbers = {}
    for key in keys:
        numbers[key] = counts[key[:-1]] = counts.get(key[:-1], 0) + 1
    return numbers


def _static(panel: Panel, frame: pd.DataFrame, as_of: bool) -> np.ndarray:
    """Return codes that stand on all dates on which a firm is listed: (t, n)."""
    if as_of:
        raise InputError("industry_as_of must be false for codes without the days on which they are valid, found true")
    twice = frame["firm"][frame["firm"].duplicated()].astype(str).tolist()
    if twice:
        raise InputError(f"firms must be unique in a table without start and end, found more than one {some(twice)}")
    place, codes = firm_places(panel, frame, "firm"), read_codes("industry", frame["industry"])
    by_firm = np.zeros(len(panel.firms), np.int32)
    by_firm[place[place >= 0]] = codes[place >= 0]
    return np.where(panel.listed, by_firm, np.int32(0))


def _dated(panel: Panel, frame: pd.DataFrame) -> np.ndarray:
    """Return the codes that are valid on each date: (t, n)."""
    if "end" not in frame.columns:
        raise InputError("a table of industries with a column start must have a column end, found none")
    return spans(panel, frame, "industry").codes


def _names(panel: Panel, frame: pd.DataFrame) -> tuple[str, ...]:
    """Return names, the last one of a firm that has several; a firm without one keeps the name that it has."""
    given = frame.loc[frame["name"].notna(), ["firm", "name"]].astype(str)
    found = dict(zip(given["firm"], given["name"], strict=True))
    own = panel.names if panel.names is not None else panel.firms.tolist()
    return tuple(found.get(firm, name) for firm, name in zip(panel.firms.tolist(), own, strict=True))
