#!/bin/bash
# Proves that there is a manual page for every command, free of what man complains about; and that every example in them, pasted in this order into a shell beside a real stack, does what it says.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
command -v mandoc >/dev/null || skip_all "no mandoc: tools/install-deps"
mkdir -p "$T/bin" "$T/man" "$T/srv/restore" "$T/etc"
ln -s "$MBACKUP" "$T/bin/mbackup"
export PATH=$T/bin:$PATH

# -- the pages -------------------------------------------------------------------------------------

commands=$(mbackup help | sed -n '/^Commands:/,/^Run/s/^  \([a-z-]*\).*/\1/p')
[ "$(wc -w <<<"$commands")" -gt 25 ]
result "the overview names the commands" $?
mbackup help --format man >"$T/man/mbackup.1"
mbackup help mbackup.conf --format man >"$T/man/mbackup.conf.5"
for command in $commands
do
	mbackup help "$command" --format man >"$T/man/mbackup-$command.1" || echo "$command" >>"$T/man.failed"
done
[ ! -e "$T/man.failed" ]
result "every command has a page" $?
# What mandoc says; that a page names no system is as it should be.
is "$(cd "$T/man" && mandoc -Tlint -Wwarning ./*.[15] 2>&1 | sed 's,mandoc: \./,,' | grep -v 'referenced manual not found')" "" "mandoc has nothing to complain of"
if command -v groff >/dev/null
then
	is "$(cd "$T/man" && for page in *.[15]; do groff -ww -man -Tutf8 "$page" 2>&1 >/dev/null; done)" "" "nor has groff"
fi
wrong=$(for page in "$T"/man/*.[15]
do
	for section in NAME DESCRIPTION EXAMPLES 'SEE ALSO'
	do
		grep -qx ".SH $section" "$page" || echo "${page##*/}: no $section"
	done
	sed -n '/^.SH SEE ALSO/,$s/^.BR \([^ ]*\) (.*/\1/p' "$page" | sed 's/\\//g' | while read -r other
	do
		[ -e "$T/man/$other.1" ] || [ -e "$T/man/$other.5" ] || echo "${page##*/}: there is no page $other"
	done
done)
is "$wrong" "" "every page has its parts, and leads to pages that exist"
run mbackup help no-such-page
is "$status" 2 "a page that there is not: exit 2"
run mbackup help bakcup --format man
like "$err" 'Did you mean "mbackup help backup"' "a page that there is not: the nearest is named"
like "$(mbackup help mbackup.conf)" "^  passphrase SECRET" "help mbackup.conf: the keys, as text"
wide=$(mbackup help mbackup.conf | awk 'length > 100' | head -n 3)
is "$wide" "" "help mbackup.conf: no line is too long"

# -- the examples -----------------------------------------------------------------------------------

stack_postgres && stack_redis || { result "a stack" 1; done_testing; }
stack_config
head -c 32 /dev/urandom | base64 >"$T/passphrase"
chmod 600 "$T/passphrase"
export MBACKUP_CONFIG=$CONF
export MBACKUP_EXPORT_PASSPHRASE=example
printf '\n[schedule]\nincremental = 0 2 * * *\n\n[retention]\ndays = 30\n' >>"$CONF"
# The passphrase in place of the key file: what "key export" is for.
sed -i "s|^key-file = .*|passphrase-file = $T/passphrase|" "$CONF"
echo 'PORT=80' >"$T/etc/app.env"
echo one >"$T/objects/o1"
printf 'BACKUP_DIR=%s/old\nENCRYPT=false\nCONFIG_PATHS=%s/etc\n' "$T" "$T" >"$T/backup.conf"
sql "CREATE TABLE orders AS SELECT 1 AS id"
rcli set order:1 o1 >/dev/null
mb init >"$T/init.out" 2>&1
is $? 0 "a repository" || cat "$T/init.out" >&2

# As they stand in the page; only the places are ours.
examples() # page
{
	mbackup help "$1" --format markdown | sed -n '/^```sh/,/^```/p' | grep -v '^```'
}
here_is() { sed "s|/srv/|$T/srv/|g; s|/etc/mbackup/passphrase|$T/passphrase|g; s|/etc/shop|$T/etc|g; s|/opt/backup/backup.conf|$T/backup.conf|g"; }
ran=0
for page in $commands
do
	while IFS= read -r -u 9 line
	do
		[[ $line == '#'* || $line == ' '* || -z $line ]] && continue
		case $line in
		# With a configuration of its own.
		*--from-backup-conf*) line="MBACKUP_CONFIG=$T/taken.conf $line --spool $T/spool2" ;;
		esac
		here_is <<<"$line" >"$T/example.sh"
		(cd "$T" && timeout -k 5 120 bash -e "$T/example.sh" </dev/null) >"$T/example.out" 2>&1
		is "$?" 0 "$page: $line" || sed 's/^/# /' "$T/example.out" >&2
		ran=$((ran + 1))
	done 9< <(examples "$page")
done
[ "$ran" -gt 40 ]
result "there were examples ($ran)" $?
[ -s "$T/srv/restore/marked/o1" ] && [ -s "$T/srv/restore/pg/PG_VERSION" ] && [ -s "$T/srv/restore/dump.rdb" ] && grep -q 80 "$T/srv/restore/some$T/etc/app.env"
result "what they restore is there" $?
done_testing
