"""The command line: one verb a stage. Exit codes: 0 done, 1 failed, 2 bad configuration or input.

Heavy imports wait until a verb needs them, so that help answers at once.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from finattn import __version__
from finattn.cli.audits import audit
from finattn.cli.backtest import backtest
from finattn.cli.completion import completion
from finattn.cli.data import describe_data, fetch_data, load_data
from finattn.cli.doctor import doctor
from finattn.cli.explanations import explain
from finattn.cli.new import new
from finattn.cli.peers import peers
from finattn.cli.predictions import predict, train
from finattn.cli.runs import bench, ladder, report, run
from finattn.config.require import nearest
from finattn.errors import InputError

_ABOUT = "Attention over a panel of firms, along time and along firms, beside baselines tuned as hard."
_DATA = "Get data, and see what there is before anything is fitted to it."
Verbs = Mapping[str, tuple[Callable[[list[str]], int], str]]
_SECRET = re.compile(r"(://[^:/@\s]*:)\S*(?=@)|(password=)[^&\s'\"]+")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _dispatch(given)
        sys.stdout.flush()
        return code
    except InputError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("stopped; a run goes on from here with the same command", 1)
    except BrokenPipeError:  # `| head`: nobody reads on, and Python must not try again as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or ''}", 1)


def _fail(message: str, code: int) -> int:
    """Say on one line what is wrong, without passwords that stand in what it quotes."""
    said = _SECRET.sub(r"\1\2…", " ".join(message.split()))
    print(f"finattn: {said}", file=sys.stderr)
    return code


def _dispatch(given: list[str]) -> int:
    if given[:1] == ["--version"]:
        print(f"finattn {__version__}")
        return 0
    verb, rest = (given[0], given[1:]) if given else ("--help", [])
    if verb in ("-h", "--help"):
        print(f"{_help('finattn', _ABOUT, VERBS)}; --version.")
        return 0
    if verb not in VERBS:
        found = f"{verb!r}{nearest(verb, list(VERBS))}"
        raise InputError(f"the verb must be one of {', '.join(VERBS)}, found {found}; see finattn --help")
    return VERBS[verb][0](rest)


def _help(command: str, about: str, verbs: "Verbs") -> str:
    width = max(map(len, verbs)) + 2
    listed = "\n".join(f"  {name:<{width}}{says}" for name, (_, says) in verbs.items())
    return f"usage: {command} VERB ...\n\n{about}\n\nverbs:\n{listed}\n\n{command} VERB --help says more"


def data(given: list[str]) -> int:
    """Parse `finattn data VERB …`."""
    verb, rest = (given[0], given[1:]) if given else ("--help", [])
    if verb in ("-h", "--help"):
        print(f"{_help('finattn data', _DATA, DATA_VERBS)}.")
        return 0
    if verb not in DATA_VERBS:
        found = f"{verb!r}{nearest(verb, list(DATA_VERBS))}"
        known = ", ".join(DATA_VERBS)
        raise InputError(f"what to do with data must be one of {known}, found {found}; see finattn data --help")
    return DATA_VERBS[verb][0](rest)


VERBS: Verbs = {
    "new": (new, "write a configuration to start from, for data of your own"),
    "run": (run, "run a configuration from source to report"),
    "train": (train, "fit a configuration's models on all there is, and keep them"),
    "predict": (predict, "forecast the newest date with the models of a run, or of train"),
    "ladder": (ladder, "tune, fit and compare all rungs from ridge to attention along both axes"),
    "backtest": (backtest, "trade forecasts, also ones made elsewhere, and say what they are worth after costs"),
    "explain": (explain, "say what one forecast of a run rests on"),
    "audit": (audit, "say how far explanations of a run's model may be believed"),
    "peers": (peers, "say whom each firm of a run asks, as files and as a page to explore"),
    "report": (report, "write a run's report again"),
    "data": (data, "fetch, make and describe panels"),
    "bench": (bench, "measure what attention costs on this machine, beside formulas"),
    "doctor": (doctor, "say what of the installation works, and how to mend the rest"),
    "completion": (completion, "print what bash, zsh or fish needs to complete verbs, options and files"),
}
DATA_VERBS: Verbs = {
    "describe": (describe_data, "say what a panel holds and what in it may be wrong"),
    "load": (load_data, "make a panel and save it"),
    "fetch": (fetch_data, "download from Yahoo, the SEC or WRDS"),
}
