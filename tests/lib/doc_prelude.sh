# doc_prelude.sh - sourced before the first block of a page (tests/lib/doc_page.py): what its hidden commands may call.

# A stream that is stopped ends with 143, and that is as it should be.
wait() { builtin wait "$@" || [ $? = 143 ]; }

# means WORD TEXT: from now on that word of the page is this one here, such as an id or a position of WAL.
means() { python3 "$DOC_TESTS/lib/doc_page.py" means "$DOC_BLOCKS" "$1" "$2"; }

# moment TIME...: these times of the page are now. It is apart from what was before and from what comes.
moment()
{
	local word now

	sleep 1
	now=$(date -u '+%F %T.%6N')
	sleep 1
	for word
	do
		case $word in
		*+[0-9][0-9]) means "$word" "$(TZ=UTC-${word##*+} date -d "${now}Z" '+%F %T.%6N')+${word##*+}" ;;
		*Z) means "$word" "${now}Z" ;;
		*) means "$word" "$now" ;;
		esac
	done
}

# doc_until SECONDS COMMAND...
doc_until()
{
	local deadline=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1
	do
		[ "$SECONDS" -lt "$deadline" ] || { echo "waited in vain: $*"; return 1; }
		sleep 0.1
	done
}

# mbackup on a terminal, where its questions get $DOC_ANSWER.
doc_asked() { python3 "$DOC_TESTS/lib/doc_asked.py" "$DOC_ANSWER" "$DOC_ROOT/bin/mbackup" "$@"; }

# doc_reads FILE [SECTION]: mbackup understands each line of it. Files with secrets that it names are made.
doc_reads()
{
	local conf=$DOC_ROOT/tmp/reads.conf file

	{
		[ -z "${2:-}" ] || echo "[$2]"
		cat "$1"
		grep -q '^ *\[schedule\]' "$1" || printf '\n[schedule]\nfull = @daily\n'
	} >"$conf"
	chmod 600 "$conf"
	for file in $(sed -n 's/^[a-z-]*-file = \([^ #]*\).*/\1/p' "$conf") $(sed -n 's/.*cat \$CREDENTIALS_DIRECTORY\/\([^ #]*\).*/'"${DOC_ROOT//\//\\/}"'\/credentials\/\1/p' "$conf")
	do
		[ -e "$file" ] || (umask 077; mkdir -p "$(dirname "$file")"; echo secret >"$file")
	done
	CREDENTIALS_DIRECTORY=$DOC_ROOT/credentials mbackup --config "$conf" --spool "$DOC_ROOT/tmp/reads-spool" schedule show || return
}
