"""A backtest as a stage: from a file of forecasts, whoever made it, and a panel to tables and plain sentences."""

from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finattn import data
from finattn.config import DataConfig, TargetConfig
from finattn.config.require import require, require_types
from finattn.errors import InputError
from finattn.evaluation import Scheme, read_forecasts
from finattn.evaluation.assessment import Assessment, assess
from finattn.evaluation.weights import places
from finattn.forecasts import HEADER, Forecasts
from finattn.panel import Panel
from finattn.pipeline import sample_sentences, write_table
from finattn.report.backtest import TABLES, sentences
from finattn.storage import atomic_folder, write_json

__all__ = ["Backtest", "Settings", "open_forecasts", "run"]

RECORD = "backtest.json"
_TRIED = "p-values rest on HAC errors; they know nothing of what else was tried before these forecasts were kept"


@dataclass(frozen=True)
class Settings:
    """How forecasts are read and traded.

    Parameters
    ----------
    scheme : what is held, and what it costs.
    delay : rows between decision and trade.
    horizon : rows that a forecast is for; None takes what finattn wrote into the file, or else the usual number of
        rows from one decision to the next.
    missing_delisting_return : stands in where a firm leaves the panel without a return.
    columns, drop : of a file made elsewhere, see `evaluation.read_forecasts`.

    Raises
    ------
    InputError
        For a delay, a horizon or a return out of its range.

    Examples
    --------
    >>> from finattn.backtest_pipeline import Settings
    >>> from finattn.evaluation import Scheme
    >>> settings = Settings(Scheme("top_k", k=20, cost=0.002), columns={"alpha": "prediction"})
    >>> settings.delay, settings.scheme.k
    (1, 20)
    >>> Settings(missing_delisting_return=0.3)
    Traceback (most recent call last):
    finattn.errors.InputError: missing_delisting_return must be between -1 and 0, found 0.3
    """

    scheme: Scheme = field(default_factory=Scheme)
    delay: int = 1
    horizon: int | None = None
    missing_delisting_return: float = 0.0
    columns: dict[str, str] = field(default_factory=dict)
    drop: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be traded."""
        require_types(self)
        require("delay", self.delay, self.delay >= 0, "at least 0")
        require("horizon", self.horizon, self.horizon is None or self.horizon >= 1, "at least 1")
        missing = self.missing_delisting_return
        require("missing_delisting_return", missing, -1 <= missing <= 0, "between -1 and 0")


class Backtest(NamedTuple):
    """What a backtest found, and what it was of: settings, notes and sentences, as JSON can hold them.

    found : tables, see `finattn.evaluation.Assessment`.
    record : what backtest.json holds: forecasts and panel, models, decisions with the first and the last, horizon,
    delay, scheme, notes (what was assumed, is lacking or must be known) and sentences (one a model).

    Examples
    --------
    A forecast that today's losers win, in a file that somebody else could have made:

    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.backtest_pipeline import Settings, run
    >>> from finattn.config import DataConfig
    >>> panel = fa.simulate(firms=60, days=40).panel
    >>> mine = panel[20:35].to_frame()[["date", "firm", "return"]].dropna()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = DataConfig("panel", panel.save(f"{folder}/panel"))
    ...     mine.assign(prediction=-mine["return"]).to_csv(f"{folder}/mine.csv", index=False)
    ...     found, record = run(Path(folder, "mine.csv"), source, Settings())
    >>> record["decisions"], record["notes"][0]
    (15, 'horizon not given: 1 rows, the usual distance from one decision to the next')
    >>> found.summary[["model", "side", "days"]]
      model   side  days
    0  mine  gross    16
    1  mine    net    16
    """

    found: Assessment
    record: dict[str, Any]


def run(path: Path, source: DataConfig, settings: Settings, out: Path | None = None, force: bool = False) -> Backtest:
    """Trade a file of forecasts on a panel, and write what was found.

    Parameters
    ----------
    path : forecasts that finattn wrote, or a CSV or Parquet file with date, firm and prediction.
    source : of the panel.
    settings : how it is traded.
    out : folder for backtest.json and the tables daily, summary, restrictions, exposures and industries as Parquet, as
        far as they can be had; whole or absent.
    force : replace an earlier backtest there.

    Returns
    -------
    Backtest

    Raises
    ------
    InputError
        For what the source, the forecasts or the scheme refuse, and where `out` holds anything else.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.backtest_pipeline import Settings, run
    >>> from finattn.config import DataConfig
    >>> panel = fa.simulate(firms=60, days=40).panel
    >>> mine = panel[20:35].to_frame().rename(columns={"return": "prediction"})[["date", "firm", "prediction"]].dropna()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = DataConfig("panel", panel.save(f"{folder}/panel"))
    ...     mine.to_csv(f"{folder}/mine.csv", index=False)
    ...     record = run(Path(folder, "mine.csv"), source, Settings(), out=Path(folder, "backtest")).record
    ...     sorted(file.stem for file in Path(folder, "backtest").iterdir())
    ['backtest', 'daily', 'exposures', 'industries', 'restrictions', 'summary']
    >>> record["sentences"][0].split(": ")[-1]
    'not distinguishable from zero (p = 0.28).'
    """
    _check_out(out, force)
    panel = data.load(source)
    forecasts, notes = open_forecasts(path, panel, settings)
    found = assess(forecasts, panel, settings.scheme, settings.delay, settings.missing_delisting_return)
    dates = forecasts.wide(forecasts.models[0]).dates
    record = {
        "forecasts": str(path),
        "panel": {"source": source.source, "path": source.path, "fingerprint": panel.fingerprint},
        "models": list(forecasts.models),
        "decisions": len(dates),
        "first": str(dates[0]),
        "last": str(dates[-1]),
        "horizon": forecasts.horizon,
        "delay": settings.delay,
        "missing_delisting_return": settings.missing_delisting_return,
        "scheme": asdict(settings.scheme),
        "finattn": metadata.version("finattn"),
        "notes": [*notes, *found.lacking, *sample_sentences(panel), _TRIED],
        "sentences": list(sentences(found, settings.scheme.kind == "top_k", sample_sentences(panel))),
    }
    if out is not None:
        _write(found, record, out)
    return Backtest(found, record)


def open_forecasts(path: Path, panel: Panel, settings: Settings) -> tuple[Forecasts, list[str]]:
    r"""Return the forecasts of a file, and what was assumed or left out.

    Parameters
    ----------
    path : forecasts that finattn wrote, or a CSV or Parquet file with date, firm and prediction.
    panel : which they are for; it gives the returns that followed those of a file made elsewhere.
    settings : horizon, delay and, of a file made elsewhere, how its columns are called and what to do with odd rows.

    Returns
    -------
    Forecasts, and a sentence for each thing assumed or left out.

    Raises
    ------
    InputError
        As `Forecasts.load` and `evaluation.read_forecasts`, and for settings that contradict what finattn wrote.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.backtest_pipeline import Settings, open_forecasts
    >>> panel = fa.Panel(["2020-01-02", "2020-01-03", "2020-01-06"], ["A"], [[0.0], [-0.02], [0.03]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.csv").write_text("date,firm,alpha\n2020-01-02,A,0.01\n")
    ...     settings = Settings(horizon=1, columns={"alpha": "prediction"})
    ...     forecasts, notes = open_forecasts(Path(folder, "mine.csv"), panel, settings)
    >>> forecasts.table[["model", "prediction", "realised"]].round(3)  # traded a row after the decision
      model  prediction  realised
    0  mine        0.01      0.03
    """
    forecasts, notes = _load_own(path, settings) if _is_own(path) else _read_foreign(path, panel, settings)
    odd = [model for model in forecasts.models if not model.isprintable()]
    require("model", odd[:1], not odd, "a name that can be printed")
    return forecasts, notes


def _is_own(path: Path) -> bool:
    """Say whether `Forecasts.save` wrote a file."""
    try:
        return HEADER in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False


def _load_own(path: Path, settings: Settings) -> tuple[Forecasts, list[str]]:
    forecasts = Forecasts.load(path)
    says = f"as {path} says"
    require("horizon", settings.horizon, settings.horizon in (None, forecasts.horizon), f"{forecasts.horizon}, {says}")
    require("delay", settings.delay, settings.delay >= forecasts.delay, f"at least {forecasts.delay}, {says}")
    for name in ("columns", "drop"):
        value = getattr(settings, name)
        require(name, value, not value, f"left out of forecasts that finattn wrote, as {path}")
    return forecasts, []


def _read_foreign(path: Path, panel: Panel, settings: Settings) -> tuple[Forecasts, list[str]]:
    """Read forecasts made elsewhere; a horizon that is not given is the distance between decisions."""

    def read(horizon: int) -> tuple[Forecasts, dict[str, int]]:
        target = TargetConfig(horizon, min(settings.delay, 1), settings.missing_delisting_return)
        return read_forecasts(path, panel, target, settings.columns, settings.drop)

    forecasts, dropped = read(settings.horizon or 1)
    notes = [f"{count:,} rows left out: {reason}" for reason, count in dropped.items() if count]
    if settings.horizon is not None:
        return forecasts, notes
    rows, _ = places(forecasts.wide(forecasts.models[0]), panel)
    distance = round(float(np.median(np.diff(rows)))) if len(rows) > 1 else 1
    notes.append(f"horizon not given: {distance} rows, the usual distance from one decision to the next")
    return (forecasts if distance == 1 else read(distance)[0]), notes


def _check_out(out: Path | None, force: bool) -> None:
    """Refuse a place that holds anything but an earlier backtest that may be replaced."""
    if out is None or not out.exists():
        return
    there = {file.name for file in out.iterdir()} if out.is_dir() else {""}
    earlier = RECORD in there and there <= {RECORD, *(f"{name}.parquet" for name in TABLES)}
    if there and not (earlier and force):
        raise InputError(f"--out must be absent or empty, or an earlier backtest with --force, found {out}")


def _write(found: Assessment, record: dict[str, Any], out: Path) -> None:
    """Write what there is, all of it or nothing."""
    with atomic_folder(out) as folder:
        for name in TABLES:
            table = getattr(found, name)
            if len(table):
                write_table(table, folder / f"{name}.parquet")
        write_json(folder / RECORD, record)
