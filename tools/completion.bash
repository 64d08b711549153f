# shellcheck shell=bash
# bash completion for bailey(8). The words come from the program itself.
_bailey() {
	local cur=${COMP_WORDS[COMP_CWORD]} prog=${COMP_WORDS[0]} verbs verb='' i root=() words
	verbs=" $("$prog" help --words 2>/dev/null | grep -v '^-' | tr '\n' ' ')"
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == --root ]]; then
			root=(--root "${COMP_WORDS[++i]}")
		elif [[ $verbs == *" ${COMP_WORDS[i]} "* ]]; then
			verb=${COMP_WORDS[i]}
			break
		fi
	done
	words=$("$prog" help --words ${verb:+"$verb"} 2>/dev/null)
	if [[ $cur != -* && -n $verb ]]; then
		case $verb in
		create | run | spec | features | list | pull | bundle | images | prune) words= ;;
		network) words='create ls inspect rm reload' ;;
		rmi) words=$("$prog" images --quiet 2>/dev/null) ;;
		help) words=$verbs ;;
		*) words=$("$prog" "${root[@]}" list --quiet 2>/dev/null) ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[[ ${COMPREPLY[0]:-} == *= ]] && compopt -o nospace
	[[ ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}
complete -F _bailey bailey
