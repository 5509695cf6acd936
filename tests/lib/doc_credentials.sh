# Sourced: $CREDENTIALS_DIRECTORY as systemd makes it of LoadCredential=NAME:DIRECTORY ($credentials).
export CREDENTIALS_DIRECTORY=$DOC_ROOT/run/credentials
mkdir -p "$CREDENTIALS_DIRECTORY"
for file in "${credentials#*:}"/*
do
	[ ! -e "$file" ] || cp -p "$file" "$CREDENTIALS_DIRECTORY/${credentials%%:*}_${file##*/}"
done
