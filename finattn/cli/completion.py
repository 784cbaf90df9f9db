"""The verb that prints what a shell needs to complete finattn's verbs, options and files."""

import argparse
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from importlib import resources

from finattn.cli.arguments import OneLineParser, is_help

_ABOUT = """Print a script that completes verbs, options and files, for bash, zsh or fish.

  bash   eval "$(finattn completion bash)"          in ~/.bashrc
  zsh    eval "$(finattn completion zsh)"           in ~/.zshrc, after compinit
  fish   finattn completion fish > ~/.config/fish/completions/finattn.fish

The options are those of this version: print it again after an update."""
_CONFIGURED = ("run", "ladder", "train")  # take a configuration first, which may be one that ships
_FIRST = {"bench": ["attention"]}  # what else a verb may take first, beside files
_BASH = """_finattn() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words=
    ((COMP_CWORD > 1)) || verb=
    [[ $verb == data ]] && ((COMP_CWORD > 2)) && verb="data ${COMP_WORDS[2]}"
    case $verb in
@CASES@
    esac
    if [[ $word == -* ]]; then
        words=$(printf '%s\\n' $words | grep -e ^-)
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        words=$(printf '%s\\n' $words | grep -v -e ^-)
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        local IFS=$'\\n'  # names of files may hold spaces
        [[ $verb == "" || $verb == data || $verb == completion ]] || COMPREPLY+=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _finattn finattn"""
_ZSH = """#compdef finattn
_finattn() {
    local verb=$words[2] found
    ((CURRENT > 2)) || verb=
    [[ $verb == data ]] && ((CURRENT > 3)) && verb="data $words[3]"
    case $verb in
@CASES@
    esac
    local -a all=(${=found})
    if [[ $words[CURRENT] == -* ]]; then
        compadd -- ${(M)all:#-*}
    else
        compadd -- ${all:#-*}
        [[ $verb == "" || $verb == data || $verb == completion ]] || _files
    fi
}
compdef _finattn finattn"""


def completion(given: list[str]) -> int:
    """Parse `finattn completion SHELL` and print the script."""
    parser = OneLineParser(prog="finattn completion", description=_ABOUT, add_help=False,
                           formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("shell", choices=tuple(_SCRIPTS), metavar="SHELL", help="bash, zsh or fish")
    if is_help(given):
        parser.print_help()
        return 0
    made = parser.parse_args(given)
    from finattn.cli import DATA_VERBS, VERBS

    said = {name: says for name, (_, says) in VERBS.items()}
    said |= {f"data {name}": says for name, (_, says) in DATA_VERBS.items()}
    calls = {name: verb for name, (verb, _) in VERBS.items() if name not in ("data", "completion")}
    calls |= {f"data {name}": verb for name, (verb, _) in DATA_VERBS.items()}
    print(_SCRIPTS[made.shell](said, dict(_options(calls))))
    return 0


def _options(calls: Mapping[str, Callable[[list[str]], int]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the options of each verb, as its help has them."""
    for name, verb in calls.items():
        with redirect_stdout(io.StringIO()) as text:
            verb(["--help"])
        found = re.findall(r"(?<![\w-])--[a-z][\w-]*(?:\.\w+)*", text.getvalue())
        yield name, [option for option in dict.fromkeys([*found, "--help"]) if option != "--key"]


def _after(said: Mapping[str, str], options: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return what can follow each verb, "" for none."""
    top = [name for name in said if " " not in name]
    configs = [place.name.removesuffix(".yaml") for place in (resources.files("finattn") / "configs").iterdir()]
    words = {"": [*top, "--help", "--version"], "completion": [*_SCRIPTS, "--help"]}
    words["data"] = [name.removeprefix("data ") for name in said if name.startswith("data ")] + ["--help"]
    for name, found in options.items():
        words[name] = [*(sorted(configs) if name in _CONFIGURED else _FIRST.get(name, [])), *found]
    return words


def _cases(said: Mapping[str, str], options: Mapping[str, list[str]], variable: str) -> str:
    return "\n".join(
        f'        "{verb}") {variable}="{" ".join(words)}" ;;' for verb, words in _after(said, options).items()
    )


def _bash(said: Mapping[str, str], options: Mapping[str, list[str]]) -> str:
    return _BASH.replace("@CASES@", _cases(said, options, "words"))


def _zsh(said: Mapping[str, str], options: Mapping[str, list[str]]) -> str:
    return _ZSH.replace("@CASES@", _cases(said, options, "found"))


def _fish(said: Mapping[str, str], options: Mapping[str, list[str]]) -> str:
    lines = ["complete -c finattn -n __fish_use_subcommand -l help -l version"]
    for verb in (name for name in said if " " not in name):
        says = said[verb].replace("'", "\\'")
        lines.append(f"complete -c finattn -f -n __fish_use_subcommand -a {verb} -d '{says}'")
    below = " ".join(name.removeprefix("data ") for name in said if " " in name)
    for verb, words in _after(said, options).items():
        where = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in verb.split())
        where += f"; and not __fish_seen_subcommand_from {below}" if verb == "data" else ""
        for word in words if verb else []:
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-f -a {word}"
            lines.append(f"complete -c finattn -n '{where}' {kind}")
    return "\n".join(lines)


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
