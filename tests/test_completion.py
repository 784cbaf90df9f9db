"""Shells complete verbs, options and files; errors of the command line name what is nearest."""

import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from finattn import cli
from finattn.cli.arguments import run_parser
from finattn.config import RunConfig
from finattn.config_file import known_keys
from finattn.errors import InputError

completion = import_module("finattn.cli.completion")  # which the verb hides


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    said = {name: says for name, (_, says) in cli.VERBS.items()}
    said |= {f"data {name}": says for name, (_, says) in cli.DATA_VERBS.items()}
    options = {
        "run": ["--model.width", "--json"],
        "data describe": ["--stale_rows"],
        "backtest": ["--delay"],
        "bench": [],
    }
    return {shell: write(said, options) for shell, write in completion._SCRIPTS.items()}


def complete(script: str, folder: Path, *words: str) -> list[str]:
    """Ask bash what follows words, the last of which is begun."""
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _finattn; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "-c", f"{script}\n{ask}", "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_verbs_options_configurations_and_files(scripts, tmp_path):
    (tmp_path / "spam and eggs.csv").touch()
    for words, expected in {
        ("finattn", "tr"): ["train"],
        ("finattn", "data", "l"): ["load"],
        ("finattn", "run", "sp"): ["sp500", "sp500_full", "spam and eggs.csv"],
        ("finattn", "run", "x.yaml", "--mod"): ["--model.width"],
        ("finattn", "data", "describe", "--st"): ["--stale_rows"],
        ("finattn", "data", "describe", "sp"): ["spam and eggs.csv"],
        ("finattn", "backtest", "--"): ["--delay"],
        ("finattn", "completion", "f"): ["fish"],
        ("finattn", "bench", "a"): ["attention"],
        ("finattn", "sp"): [""],
        ("finattn", "--v"): ["--version"],
    }.items():
        assert complete(scripts["bash"], tmp_path, *words) == expected, words


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_the_same_words_and_read_the_script(shell, scripts, tmp_path):
    script = scripts[shell]
    for word in (*cli.VERBS, *cli.DATA_VERBS, "sp500_full", "model.width", "stale_rows", "attention"):
        assert word in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_the_script_has_every_option_that_the_helps_have(capsys):
    assert cli.main(["completion", "bash"]) == 0
    lines = {
        line.split('"')[1]: line.split('"')[3].split() for line in capsys.readouterr().out.splitlines() if ";;" in line
    }
    assert set(lines) == {
        "",
        "completion",
        "data",
        *(set(cli.VERBS) - {"data"}),
        *(f"data {name}" for name in cli.DATA_VERBS),
    }
    sections = {key.partition(".")[0] for key in known_keys(RunConfig) if "." in key}
    keys = {f"--{key}" for key in known_keys(RunConfig) if key not in sections}
    for verb in ("run", "ladder", "train"):
        assert keys <= set(lines[verb]) and "--json" in lines[verb] and "--key" not in lines[verb]
    assert {"--until"} <= set(lines["train"]) and {"--scheme.kind", "--delay"} <= set(lines["backtest"])
    assert all("--help" in words for words in lines.values())


def test_help_begins_with_a_short_usage_and_says_what_every_key_means(capsys):
    for arguments, usage in ((["run"], "run [CONFIG]"), (["data", "describe"], "data describe PANEL")):
        assert cli.main([*arguments, "--help"]) == 0
        text = capsys.readouterr().out
        assert text.splitlines()[:2] == [f"usage: finattn {usage} [--key value ...]", ""] and "<class" not in text
        assert "is taken as -30 % on NYSE" in " ".join(text.split())
    actions = run_parser("run", "")._actions
    silent = {action.dest for action in actions if not action.help}
    assert silent == {"out", "data.wrds.lag_months", "training.smoothing"}  # said by the line of another key
    said = {action.dest: action.help for action in actions}
    assert said["data.start"] == 'start, end: first and last day to use, such as "1995-01-01"; None for all there are'
    assert said["data.wrds.compustat"] == 'fundamentals of "annual" or "quarterly" reports, or "none"'
    assert said["data.sector_features"].endswith("See finattn.data.industries.sector_features")


WRONG = {
    "a verb": (["traim"], "found 'traim', did you mean train?; see finattn --help"),
    "a verb like none": (["zzz"], "found 'zzz'; see finattn --help"),
    "a verb of data": (["data", "descibe"], "found 'descibe', did you mean describe?; see finattn data --help"),
    "an option before what is missing": (["explain", "r", "--frim", "A"], "unknown key frim, did you mean firm?"),
    "an option with its value": (["bench", "attention", "--widht=3"], "unknown key widht, did you mean width?"),
    "an option that is cut short": (["bench", "attention", "--firm", "3"], "unknown key firm, did you mean firms?"),
    "a shell": (["completion", "bsh"], "argument SHELL: invalid choice: 'bsh'"),
    "a key in a mapping": (["run", "--model", "{widht: 3}"], "unknown key model.widht, did you mean model.width?"),
    "a key of a file given as an option": (["run", "--config", "key.yaml"], "unknown key model.widht, did you mean"),
    "a key without its section": (["run", "--width", "3"], "unknown key width, did you mean model.width?"),
    "an option of the verb": (["run", "--forse"], "unknown key forse, did you mean force?"),
    "an option that takes a folder": (["data", "load", "sample", "--ot", "x"], "unknown key ot, did you mean out?"),
    "a choice": (["run", "--splits.decisions", "weekli"], "splits.decisions must be one of daily, weekly, month-end, "
                 "quarter-end, found 'weekli', did you mean weekly?"),
    "a choice in a list": (["run", "--attention.time", "[tim]"], "found 'tim', did you mean time?"),
    "a choice of data": (["data", "describe", "sample", "--data.layout", "lng"], "did you mean long?"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_misspelt_is_answered_with_what_is_nearest(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("key.yaml").write_text("model: {widht: 3}\n")
    arguments, message = WRONG[case]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("finattn: ") and message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.yaml"]


def test_a_misspelt_key_of_a_section_made_in_python_is_answered_too():
    with pytest.raises(InputError, match=r"model must have known keys, found 'widht', did you mean width\?"):
        RunConfig(model={"widht": 3})
    with pytest.raises(InputError, match="sec must have known keys, found 'zzz'$"):
        RunConfig(data={"sec": {"zzz": 1}})


def test_thresholds_of_describe_are_those_that_the_function_has():
    import inspect

    from finattn.cli.data import THRESHOLDS
    from finattn.data.describe import describe

    declared = {name: (value.default) for name, value in list(inspect.signature(describe).parameters.items())[1:]}
    assert {name: default for name, _, default, _ in THRESHOLDS} == declared
