
# Bash ends words at colons, which key URIs have. Joins them, and removes from each completion what is
# typed up to the last colon.
_sealwax() {
    local -a joined=()
    local word last='' index=0 i
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 0)) && [[ $word == :* || ($last == *: && -n $word) ]]; then
            joined[${#joined[@]} - 1]+=$word
        else
            joined+=("$word")
        fi
        last=$word
        if ((i == COMP_CWORD)); then
            index=$((${#joined[@]} - 1))
        fi
    done
    local current=${joined[index]}
    local typed=${current%"${current##*:}"}
    local COMP_CWORD=$index
    local -a COMP_WORDS=("${joined[@]}")
    _clap_complete_sealwax "$1" "$current"
    COMPREPLY=("${COMPREPLY[@]#"$typed"}")
}
