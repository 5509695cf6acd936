# fish completion for mbackup: what is possible is asked of the program itself.
function __mbackup_complete
	set -l words (commandline -opc)
	set -l cur (commandline -ct)
	set -l program (string replace -r '^~' $HOME -- $words[1])
	set -l lines ($program completion answer -- $words[2..-1] "$cur" 2>/dev/null </dev/null)
	test (count $lines) -gt 0; or return
	set -l kind (string split ' ' -- $lines[1])
	if test (count $lines) -gt 1
		printf '%s\n' $lines[2..-1]
	end
	if test "$kind[1]" = files
		set -l lead (string sub -l $kind[2] -- "$cur")
		set -l rest (string sub -s (math $kind[2] + 1) -- "$cur")
		for path in (__fish_complete_path "$rest")
			printf '%s%s\n' "$lead" $path
		end
	end
end
complete -c mbackup -f -a '(__mbackup_complete)'
