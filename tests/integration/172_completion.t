#!/bin/bash
# Proves that bash, zsh and fish complete commands, options, values, components, marks, backups and files, by pressing TAB in
# the shells themselves; and that a name in a repository that is code for a shell is never offered.
. "$(dirname "$0")/../lib/stack.sh"
stack_begin
for shell in zsh fish
do
	command -v $shell >/dev/null || skip_all "no $shell: tools/install-deps"
done
stack_config none
printf '\n[files:second-tree]\npaths = %s/etc\n' "$T" >>"$CONF"
echo v >"$T/etc/app.env"
echo o >"$T/objects/o1"
mb init >/dev/null 2>&1
mb backup >/dev/null 2>&1
ID=$(mb list --json | json backups.0.id)
mb mark before-release >/dev/null 2>&1
mb mark 'x$(touch hacked)' >/dev/null 2>&1
is $? 0 "a mark whose name is code for a shell"
mkdir "$T/bin" "$T/site" "$T/work"
ln -s "$MBACKUP" "$T/bin/mbackup"
touch "$T/work/archive-one.tar" "$T/work/with blank.tar"
export PATH=$T/bin:$PATH MBACKUP_CONFIG=$CONF
cd "$T/work" || exit 1

# The answer itself.
answer() { mbackup completion answer -- "$@"; }
is "$(answer ba)" "words 0
backup	back up every component at one cut" "the answer: a command, and what it does"
like "$(answer restore --to-mark '')" "^before-release	mark, " "the answer: marks"
! answer restore --to-mark '' | grep -q touch
result "a name that is code is not offered" $?
is "$(answer mark)" "words 0
mark	name this moment, so that a restore can go back to it" "the answer: a word that is whole is still offered"
is "$(answer --config "$T/none.conf" restore --component '')" "words 0" "no configuration: nothing, and no error"
is "$(answer --config "$T/none.conf" restore --component '' 2>&1)" "words 0" "no configuration: nothing is said"
printf '[global]\nnonsense = 1\n' >"$T/broken.conf"
is "$(answer --config "$T/broken.conf" restore --to-mark '' 2>/dev/null)" "words 0" "a broken configuration: nothing"
{ grep -v '^encryption' "$CONF"; } >"$T/asks.conf"
sed -i "s|^url = $REPO|&\npassphrase-command = touch $T/asked; echo x|" "$T/asks.conf"
answer --config "$T/asks.conf" restore --component '' | grep -q second-tree
result "components: of a configuration with a command for the secret" $?
[ ! -e "$T/asked" ]
result "components: that command was not run" $?
# Every verb that a command names itself is offered.
for command in key schedule objects redis
do
	missing=$(mbackup $command no-such-verb x 2>&1 | grep '^  hint' | grep -o '[a-z-]*' | sort -u >"$T/named"
		answer $command '' | sed '1d; s/\t.*//' | while read -r verb; do grep -qx -- "$verb" "$T/named" || echo "$verb"; done)
	is "$missing" "" "the verbs of $command are those that it names"
done
# Every command can be asked for everything, and says nothing on stderr.
wrong=$(for command in $(mbackup help | sed -n '/^Commands:/,/^Run/s/^  \([a-z-]*\).*/\1/p')
do
	for word in '' - -- --c --component= --no-such= /
	do
		answer "$command" "$word" 2>&1 >"$T/answer.out" || echo "$command $word failed"
		head -n 1 "$T/answer.out" | grep -Eqx '(words|files) [0-9]+' || echo "$command $word: $(head -n 1 "$T/answer.out")"
	done
done)
is "$wrong" "" "every command answers, and is silent"

cases() # shell
{
	printf '%s\t%s\t%s\n' \
		"$1: a command" 'mbackup bac' 'mbackup backup ' \
		"$1: commands" 'mbackup re' '~redis restore report' \
		"$1: an option" 'mbackup backup --ty' 'mbackup backup --type ' \
		"$1: options" 'mbackup restore --to-' '~--to-time --to-mark --to-lsn --to-latest' \
		"$1: an option of another command is none" 'mbackup list --ty' 'mbackup list --ty' \
		"$1: a choice" 'mbackup backup --type incr' 'mbackup backup --type incremental ' \
		"$1: choices" 'mbackup verify --read-data ' '~full changed none' \
		"$1: a choice behind =" 'mbackup backup --type=fu' 'mbackup backup --type=full ' \
		"$1: a component" 'mbackup backup --component upl' 'mbackup backup --component uploads ' \
		"$1: components" 'mbackup backup --component ' '~uploads config second-tree' \
		"$1: a mark" 'mbackup restore --to-mark bef' 'mbackup restore --to-mark before-release ' \
		"$1: a backup" "mbackup info ${ID:0:12}" "mbackup info $ID " \
		"$1: a verb" 'mbackup key rot' 'mbackup key rotate ' \
		"$1: the component of a verb" 'mbackup objects ls upl' 'mbackup objects ls uploads ' \
		"$1: a file" 'mbackup import archive-o' 'mbackup import archive-one.tar ' \
		"$1: a file with a blank" 'mbackup import with' 'mbackup import with\ blank.tar ' \
		"$1: a place behind a component" "mbackup restore --component uploads=$T/work/archive-o" "mbackup restore --component uploads=$T/work/archive-one.tar " \
		"$1: behind another configuration" "mbackup --config $CONF backup --component second" "mbackup --config $CONF backup --component second-tree " \
		"$1: nothing that fits" 'mbackup nonsense ' 'mbackup nonsense '
}
in_shell() # shell script
{
	local wrong what
	while read -r wrong what
	do
		result "$what" "$wrong"
	done < <(cases "$1" | timeout -k 5 240 /usr/bin/python3 "$here/tests/lib/complete.py" "$1" "$2" "$T/site" 2>"$T/shell.err"; echo "$? every key was pressed in $1")
	sed 's/^/# /' "$T/shell.err" >&2
}
mbackup completion bash >"$T/site/mbackup.bash"
mbackup completion zsh >"$T/site/_mbackup"
mbackup completion fish >"$T/site/mbackup.fish"
in_shell bash "$T/site/mbackup.bash"
in_shell zsh "$T/site/_mbackup"

in_fish() { fish --no-config -c "source $T/site/mbackup.fish; complete -C \"$1\"" 2>"$T/fish.err"; cat "$T/fish.err" >&2; }
fish_is() { is "$(in_fish "$1" | cut -f 1)" "$2" "fish: $3"; }
is "$(in_fish 'mbackup bac')" "backup	back up every component at one cut" "fish: a command, and what it does"
fish_is 'mbackup backup --ty' '--type' "an option"
fish_is 'mbackup list --ty' '' "an option of another command is none"
fish_is 'mbackup backup --type incr' 'incremental' "a choice"
fish_is 'mbackup backup --type=fu' '--type=full' "a choice behind ="
fish_is 'mbackup backup --component upl' 'uploads' "a component"
fish_is 'mbackup restore --to-mark ' 'before-release' "marks"
fish_is "mbackup info ${ID:0:12}" "$ID" "a backup"
fish_is 'mbackup key rot' 'rotate' "a verb"
fish_is 'mbackup import archive-o' 'archive-one.tar' "a file"
fish_is "mbackup restore --component uploads=$T/work/archive-o" "uploads=$T/work/archive-one.tar" "a place behind a component"
[ ! -e hacked ]
result "no shell ran what is in a name" $?

run mbackup completion tcsh
is "$status" 2 "another shell: exit 2"
like "$err" "bash\|zsh\|fish" "another shell: which there are"
run mbackup completion
is "$status" 2 "no shell: exit 2"
done_testing
