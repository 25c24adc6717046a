"""``dyc --install-completion``: commands, options, networks and the rows of papers, completed by bash and zsh.

The words are written into a file once. To ask the parsers at every press of the key, as argcomplete does, would import
PyTorch and Lightning each time, which takes seconds.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

from lightning_modules.cli import COMMANDS, main
from ops import ArgumentError

SCRIPT = """# Completion of `dyc` for bash; for zsh, after: autoload -U bashcompinit && bashcompinit
_dyc() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version --install-completion"
    elif [ "$before" = --model.model ]; then
        words="{networks}"
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
    else
        case "${{COMP_WORDS[1]}}" in
{names}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _dyc dyc
"""


def options_of(command: str) -> list[str]:
    """Return the options that a command's ``--help`` names."""
    shown = StringIO()
    with redirect_stdout(shown):
        try:
            main([command, "--help"])
        except SystemExit as stop:
            if stop.code:
                raise
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", shown.getvalue())))


def names_of(command: str) -> list[str]:
    """Return what the function ``names`` of a command's module offers in the place of its arguments, if it has one."""
    offer = getattr(import_module(COMMANDS[command][0]), "names", None)
    return [] if offer is None else offer()


def script() -> str:
    """Return the script: for bash, and for zsh by way of ``bashcompinit``."""
    from dyc.models import model_names

    return SCRIPT.format(
        commands=" ".join(COMMANDS),
        networks=" ".join(model_names()),
        options=_cases({command: options_of(command) for command in COMMANDS}),
        names=_cases({command: names_of(command) for command in COMMANDS}),
    )


def _cases(words: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(f'            {command}) words="{" ".join(each)}" ;;' for command, each in words.items() if each)


def install() -> Path:
    """Write the script to where bash looks for it, say so, and return its path.

    Raises:
        ArgumentError: The file cannot be written.
    """
    home = os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    path = Path(home) / "bash-completion/completions/dyc"
    text = script()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        reason = f"{str(path)!r} cannot be written ({error.strerror}); set XDG_DATA_HOME to a folder of yours"
        raise ArgumentError(reason) from error
    print(
        f"written to {path}, which bash reads in new shells where its package bash-completion is installed; "
        f"elsewhere, and in zsh after `autoload -U bashcompinit && bashcompinit`, run: source {shlex.quote(str(path))}"
    )
    return path
