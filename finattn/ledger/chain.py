"""The ledger's files: append, read, and check the chain."""

import hashlib
import json
import re
import shutil
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from finattn.checks import first_line, map_array
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.evaluation import Scheme, portfolio
from finattn.forecasts import Forecasts
from finattn.panel import Panel
from finattn.splits import WalkForward
from finattn.storage import atomic_file, sweep

EMPTY = "0" * 64
"""Head of a ledger without a trial."""
TERMS = (Scheme().quantiles, Scheme().cost, 1)
"""Quantiles, cost and delay of every trial's portfolio, whatever a run's own are, so that trials can be compared."""
_NAMES = ("name", "file", "folder")  # what in a panel's source stays when it is read again
_OWN = ("time", "previous", "hash")  # all that two entries of one trial differ in


@dataclass(frozen=True)
class Setup:
    """What was walked forward, and how.

    Parameters
    ----------
    settings : of each forecaster, by its name.
    target, splits : as of `finattn.walk_forward`.
    beside : fingerprints of what was given beside the panel.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import TargetConfig
    >>> from finattn.ledger import Setup
    >>> setup = Setup({"mine": "window 21"}, TargetConfig(horizon=5), fa.WalkForward("2020-01-01", horizon=5))
    >>> setup.shared["target"]
    {'horizon': 5, 'delay': 0, 'missing_delisting_return': 0.0}
    """

    settings: Mapping[str, str]
    target: TargetConfig
    splits: WalkForward
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def shared(self) -> dict[str, Any]:
        """What all its forecasters have in common, as JSON holds it."""
        return {"target": asdict(self.target), "splits": asdict(self.splits), "beside": dict(self.beside)}


@dataclass(frozen=True)
class Trial:
    """An entry: one forecaster on one panel.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import read_trials
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     trial = read_trials(folder)[0]
    >>> trial.model, trial.settings, trial.seeds, trial.source, trial.rows, trial.firm_count
    ('mean', 'HistoricalMean {}', [0], 'name skfolio.datasets.load_sp500_dataset', 756, 20)
    """

    time: str
    """When it was appended, UTC."""
    model: str
    settings: str
    seeds: list[int]
    target: dict[str, Any]
    splits: dict[str, Any]
    beside: dict[str, str]
    source: str
    """Name of the panel's source, see `source_of`."""
    panel: str
    """The panel's fingerprint."""
    features: list[str]
    first: str
    last: str
    """First and last day of the panel, and its number of rows."""
    rows: int
    firms: str
    """Hash of the panel's firms, sorted, and their number."""
    firm_count: int
    periods_per_year: int
    portfolio: dict[str, float]
    """Quantiles, cost and delay at which `net` was earned."""
    dates: str
    net: str
    """Hashes of the days of the net returns, and of these."""
    previous: str
    hash: str


_KINDS = {name: typing.get_origin(kind) or kind for name, kind in typing.get_type_hints(Trial).items()}


def record(path: str | Path, panel: Panel, forecasts: Forecasts, setup: Setup) -> list[Trial]:
    """Append the forecasters of a walk-forward, each with the net returns of its long-short portfolio.

    Portfolios are those of `finattn.portfolio` at the `TERMS` of all trials. A trial that is there already, with the
    same returns to twelve digits, is not appended again. Two processes may append at once, and one that is killed
    leaves the ledger as it was.

    Parameters
    ----------
    path : the ledger's folder, made where there is none. panel, forecasts, setup : what was walked forward.

    Returns
    -------
    What was appended.

    Raises
    ------
    InputError
        As `read_trials`, or where the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> panel = Panel(dates=["2020-01-02", "2020-01-03"], firms=["A", "B"], returns=[[0.01, 0.0], [-0.02, 0.03]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("datetime64[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [-0.02, 0.03]})
    >>> forecasts = Forecasts(table, horizon=1, delay=0, overlap=0, periods_per_year=252)
    >>> setup = Setup({"ridge": "strength 1"}, TargetConfig(1), WalkForward("2020-01-02"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     added = record(folder, panel, forecasts, setup)
    ...     again = record(folder, panel, forecasts, setup)
    ...     len(added), len(again), verify(folder, [added[0].hash])
    (1, 0, 1)
    """
    folder, missing = Path(path), setup.target.missing_delisting_return
    daily = portfolio(forecasts, panel, *TERMS, missing)
    with _alone(folder):
        trials = read_trials(folder)
        known = {_identity(vars(trial)) for trial in trials}
        common = setup.shared | _describe(folder, panel)
        added: list[Trial] = []
        for model, own in daily.groupby("model", sort=False):
            entry = common | {
                "model": str(model), "settings": setup.settings[str(model)], "seeds": list(forecasts.seeds(str(model))),
                "dates": _store(folder, own["date"].to_numpy().astype("M8[D]")),
                "net": _store(folder, own["net"].to_numpy(np.float64).round(12) + 0.0),
            }  # fmt: skip
            if _identity(entry) not in known:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                entry |= {"time": now, "previous": head_of(added or trials)}
                added.append(Trial(**entry, hash=_hash(entry)))
        if added:
            _extend(folder / "trials.jsonl", added)
    return added


def read_trials(path: str | Path) -> list[Trial]:
    """Read all trials, the oldest first, and check the chain; none where there is no ledger.

    Parameters
    ----------
    path : the ledger's folder.

    Raises
    ------
    InputError
        Naming the line at which the chain breaks, what was expected there and what was found.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import read_trials
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     [(trial.model, trial.first, trial.last) for trial in read_trials(folder)]
    [('mean', '2018-01-02', '2020-12-31'), ('ridge', '2018-01-02', '2020-12-31')]
    """
    file = Path(path) / "trials.jsonl"
    if not file.exists():
        if Path(path).exists() and not Path(path).is_dir():
            raise InputError(f"ledger must be a folder, found a file at {path}")
        return []
    *lines, rest = file.read_bytes().split(b"\n")
    trials: list[Trial] = []
    for number, line in enumerate([*lines, rest] if rest else lines, 1):
        try:
            trials.append(_parse(line, head_of(trials)))
        except InputError as error:
            raise InputError(
                f"{file}, line {number}: {error}; restore the ledger, or move {path} away to begin another"
            ) from None
    return trials


def head(path: str | Path) -> str:
    """Return the hash of the newest trial, which stands for the whole chain; `EMPTY` where there is none.

    Keep it elsewhere, and `verify` tells whether the ledger was cut or written anew.

    Raises
    ------
    InputError
        As `read_trials`.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import EMPTY, head, read_trials
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     head(folder) == read_trials(folder)[-1].hash, head(f"{folder}/another") == EMPTY
    (True, True)
    """
    return head_of(read_trials(path))


def verify(path: str | Path, heads: Sequence[str] = ()) -> int:
    """Check the chain and every array, and that each of these hashes was once the head; return the number of trials.

    Parameters
    ----------
    path : the ledger's folder. heads : as `head` returned them earlier, or a run's provenance holds them.

    Raises
    ------
    InputError
        Saying where the ledger breaks, or which head it does not hold.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import head, verify
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     kept = head(folder)
    ...     _ = fa.walk_forward(panel, {"zero": fa.Zero()}, splits, ledger=folder)
    ...     verify(folder, [kept])
    3
    """
    trials = read_trials(path)
    for trial in trials:
        net_returns(path, trial)
        firms_of(path, trial)
    lost = set(heads) - {EMPTY, *(trial.hash for trial in trials)}
    if lost:
        raise InputError(f"{path} must hold the trial {min(lost)}, once its head, found none: it was cut or rewritten")
    return len(trials)


def net_returns(path: str | Path, trial: Trial) -> pd.Series:
    """Read a trial's daily returns after costs, simple and fractions, by date.

    Parameters
    ----------
    path : the ledger's folder. trial : one of `read_trials`.

    Raises
    ------
    InputError
        Where its arrays are not there, or are others.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import net_returns, read_trials
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     {trial.model: net_returns(folder, trial).mean().round(4).item() for trial in read_trials(folder)}
    {'mean': 0.0012, 'ridge': 0.0008}
    """
    dates, net = _load(Path(path), trial.dates, "M8[D]"), _load(Path(path), trial.net, "f8")
    if dates.shape != net.shape or net.ndim != 1 or not np.isfinite(net).all():
        raise InputError(f"{path}: trial {trial.hash} must have a finite return a date, found {net.shape}")
    return pd.Series(net, pd.DatetimeIndex(dates.astype("M8[s]")), name=trial.model)


def firms_of(path: str | Path, trial: Trial) -> list[str]:
    """Read the identifiers of the firms in a trial's panel, sorted.

    Raises
    ------
    InputError
        Where their array is not there, or is another.
    """
    return _load(Path(path), trial.firms, "U").tolist()


def source_of(panel: Panel) -> str:
    """Name a panel's source by what stays the same when it is read again; empty where nothing does.

    Examples
    --------
    >>> source_of(Panel(["2020-01-02"], ["A"], [[0.0]], source={"file": "returns.csv", "rows": 1}))
    'file returns.csv'
    """
    names = [f"{key} {value}" for key in _NAMES if isinstance(value := panel.source.get(key), str)]
    return ", ".join(names + ["wrds"] * ("wrds" in panel.source))


# -- entries ------------------------------------------------------------


def _describe(folder: Path, panel: Panel) -> dict[str, Any]:
    """Return what an entry says of its panel, and of what was traded on it."""
    return {
        "source": source_of(panel), "panel": panel.fingerprint, "features": list(panel.feature_names),
        "first": str(panel.dates[0]), "last": str(panel.dates[-1]), "rows": len(panel),
        "firms": _store(folder, np.array(sorted(panel.firms.tolist()), str)), "firm_count": len(panel.firms),
        "periods_per_year": panel.periods_per_year,
        "portfolio": dict(zip(("quantiles", "cost", "delay"), TERMS, strict=True)),
    }  # fmt: skip


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(entry).encode()).hexdigest()


def _identity(entry: Mapping[str, Any]) -> str:
    return _canonical({name: value for name, value in entry.items() if name not in _OWN})


def head_of(trials: Sequence[Trial]) -> str:
    """Return the hash of the last of these trials."""
    return trials[-1].hash if trials else EMPTY


def _parse(line: bytes, previous: str) -> Trial:
    """Read an entry and hold it against its own hash and that of the entry before it."""
    try:
        entry = json.loads(line.decode())
        own = _hash({name: value for name, value in entry.items() if name != "hash"}) if isinstance(entry, dict) else ""
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a trial as JSON, found another: {first_line(error)}") from None
    if not isinstance(entry, dict) or set(entry) != set(_KINDS):
        raise InputError(f"expected a trial with {', '.join(_KINDS)}, found other fields")
    for name, kind in _KINDS.items():
        if not isinstance(entry[name], kind) or not _fits(name, entry[name]):
            raise InputError(f"{name} must be what finattn writes there, found {entry[name]!r}")
    for name, expected in (("previous", previous), ("hash", own)):
        if entry[name] != expected:
            raise InputError(f"the chain breaks: {name} must be {expected}, found {entry[name]}")
    return Trial(**entry)


def _fits(name: str, value: Any) -> bool:
    """Say whether a field is a hash, which names a file, or a day where it must be."""
    if name in ("first", "last"):
        try:
            return bool(date.fromisoformat(value))
        except ValueError:
            return False
    return name not in ("firms", "dates", "net", "previous", "hash") or bool(re.fullmatch("[0-9a-f]{64}", value))


# -- files ------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process appends, and remove what a killed one left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            sweep(folder)
            yield
    except OSError as error:
        raise InputError(f"ledger must be a folder to write to, found {folder}: {error.strerror}") from None


def _extend(file: Path, trials: Sequence[Trial]) -> None:
    with atomic_file(file) as temporary:
        if file.exists():
            shutil.copyfile(file, temporary)
        with temporary.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{_canonical(vars(trial))}\n" for trial in trials)


def _digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's content; text must not be wider than it needs."""
    return hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes()).hexdigest()


def _place(folder: Path, digest: str) -> Path:
    return folder / "arrays" / f"{digest}.npy"


def _store(folder: Path, array: np.ndarray) -> str:
    """Keep an array under its hash."""
    digest = _digest(array)
    file = _place(folder, digest)
    if not file.exists():
        with atomic_file(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    return digest


def _load(folder: Path, digest: str, types: str) -> np.ndarray:
    """Read an array and hold it against its hash."""
    file = _place(folder, digest)
    array = np.array(map_array(file, types))
    if _digest(array) != digest:
        raise InputError(f"{file}: must hold what its name is the SHA-256 of, found another array")
    return array
