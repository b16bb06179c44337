# shellcheck shell=bash
# Completion for bash: commands, options and what the programs themselves can name.

# What the usage text of a program, or of one of warrenctl's commands, has of options.
_warren_options() {
    "$@" 2>/dev/null | grep -oE -- '--?[A-Za-z][A-Za-z-]*' | sort -u
}

_warrenctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i
    case $before in
    --formatter) mapfile -t COMPREPLY < <(compgen -W 'table json csv pretty_table' -- "$word"); return ;;
    --cookie-file) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -n | --node | -p | --vhost | -t | --timeout | --formatter | --cookie-file) i=$((i + 1)) ;;
        -*) ;;
        *) command=${COMP_WORDS[i]}; break ;;
        esac
    done
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_warren_options "$1" help ${command:+"$command"})" -- "$word")
    elif [ -z "$command" ]; then
        mapfile -t COMPREPLY < <("$1" autocomplete "$word" 2>/dev/null)
    elif [ "$command" = help ]; then
        mapfile -t COMPREPLY < <("$1" autocomplete "$word" 2>/dev/null)
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

_warren_program() {
    local word=${COMP_WORDS[COMP_CWORD]}
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_warren_options "$1" --help)" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

_warren_plugins() {
    local word=${COMP_WORDS[COMP_CWORD]}
    mapfile -t COMPREPLY < <(compgen -W 'enable disable list help' -- "$word")
}

complete -o filenames -F _warrenctl warrenctl rabbitmqctl
complete -o filenames -F _warren_program warren-broker warren-proxy warren-bench
complete -F _warren_plugins warren-plugins
