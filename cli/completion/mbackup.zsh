#compdef mbackup
# zsh completion for mbackup: what is possible is asked of the program itself.
_mbackup()
{
	local program=${(Q)words[1]} kind line word
	local -a lines pairs

	program=${program/#\~/$HOME}
	lines=("${(@f)$($program completion answer -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
	kind=${lines[1]}
	for line in "${(@)lines[2,-1]}"
	do
		[[ -n $line ]] || continue
		word=${line%%$'\t'*}
		pairs+=("${word//:/\\:}:${line#*$'\t'}")
	done
	(( ${#pairs} )) && _describe 'mbackup' pairs
	if [[ $kind == files* ]]
	then
		compset -p ${kind##* }
		_files
	fi
}
if [[ ${funcstack[1]} == _mbackup ]]
then
	_mbackup "$@"
else
	compdef _mbackup mbackup
fi
