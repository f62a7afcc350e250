"""`regimen completion bash|zsh`: print the completion script of a shell; the script calls `completion words`."""

from __future__ import annotations

import argparse

from regimen.system.errors import RegimenError, did_you_mean

BASH = """\
# Completion of `regimen` and of `python launch.py` for bash: eval "$(regimen completion bash)"
_regimen() {
    mapfile -t COMPREPLY < <(regimen completion words "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ ${COMPREPLY[0]-} == *[=@] ]]; then compopt -o nospace; fi
}
_regimen_python() {
    case " ${COMP_WORDS[*]}" in
        *" launch.py "* | *"/launch.py "*) _regimen "$@" ;;
        *) if declare -F _python >/dev/null; then _python "$@"; fi ;;
    esac
}
if declare -F _completion_loader >/dev/null; then _completion_loader python 2>/dev/null || true; fi
complete -o default -F _regimen regimen launch.py
complete -o bashdefault -o default -F _regimen_python python python3
"""

ZSH = """\
# Completion of `regimen` and of `python launch.py` for zsh: eval "$(regimen completion zsh)"
_regimen() {
    local -a found
    found=("${(@f)$(regimen completion words "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    if [[ -z $found ]]; then _files; return; fi
    compadd -S '' -- ${(M)found:#*[=@]}
    compadd -- ${found:#*[=@]}
}
_regimen_python() {
    if (( ${words[(I)launch.py]} + ${words[(I)*/launch.py]} )); then _regimen; else _python; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _regimen regimen launch.py
compdef _regimen_python python python3
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH}


def completion_verb(argv: list[str]) -> int:
    """Print the completion script of a shell, or the candidates for a command line.

    Args:
        argv: a shell; or `words`, the line up to the cursor, and the word-break characters of the shell.
    """
    if argv[:1] == ["words"]:
        from regimen.cli import completion_words

        try:
            found = completion_words.complete(*argv[1:3])
        except (RegimenError, OSError):  # an error message would disturb typing
            found = []
        print("\n".join(found))
        return 0
    parser = argparse.ArgumentParser(
        prog="regimen completion",
        description='Print the completion of a shell. Into ~/.bashrc or ~/.zshrc: eval "$(regimen completion <shell>)"',
    )
    parser.add_argument("shell", help=" or ".join(SCRIPTS))
    shell = parser.parse_args(argv).shell
    if shell not in SCRIPTS:
        raise RegimenError(f"There is no completion for `{shell}`. {did_you_mean(shell, SCRIPTS)}")
    print(SCRIPTS[shell], end="")
    return 0
