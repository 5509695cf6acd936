# bash completion for mbackup: what is possible is asked of the program itself.
_mbackup()
{
	local i word program words=() joins=0 answer line kind at=0 cur lead='' breaks

	COMPREPLY=()
	program=${COMP_WORDS[0]/#\~/$HOME}
	# bash breaks words at = and : too; what was one word is one again.
	for ((i = 1; i <= COMP_CWORD; i++))
	do
		word=${COMP_WORDS[i]}
		word=${word//[\"\'\\]/}
		if ((${#words[@]} > 0)) && { ((joins)) || [[ ${COMP_WORDS[i]} == [=:]* ]]; }
		then
			words[${#words[@]} - 1]+=$word
		else
			words+=("$word")
		fi
		[[ ${COMP_WORDS[i]} == [=:]* ]] && joins=1 || joins=0
	done
	((${#words[@]} > 0)) || return 0
	cur=${words[${#words[@]} - 1]}
	answer=$("$program" completion answer -- "${words[@]}" 2>/dev/null </dev/null) || return 0

	# Of the last word bash replaces only what stands behind such a break.
	breaks=${COMP_WORDBREAKS//[!=:]/}
	if [[ -n $breaks && $cur == *[$breaks]* ]]
	then
		lead=${cur%"${cur##*[$breaks]}"}
	fi
	while IFS= read -r line
	do
		if [[ -z ${kind-} ]]
		then
			kind=${line%% *}
			at=${line##* }
			continue
		fi
		line=${line%%$'\t'*}
		COMPREPLY+=("${line#"$lead"}")
	done <<<"$answer"
	if [[ ${kind-} == files ]]
	then
		compopt -o filenames 2>/dev/null
		while IFS= read -r line
		do
			line=${cur:0:at}$line
			COMPREPLY+=("${line#"$lead"}")
		done < <(compgen -f -- "${cur:at}")
	fi
	return 0
}
complete -F _mbackup mbackup
