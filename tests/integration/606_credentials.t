#!/bin/bash
# Where the keys of an object store come from: each source leads into a real bucket, and each that is set
# up wrongly is told by its name. Token services that do not run here are stood in for by a few lines.
. "$(dirname "$0")/../lib/stack.sh"
. "$(dirname "$0")/../lib/s3.sh"
stack_begin
s3_ceph || exit
judge mkbucket shop versioning

(umask 077; echo "a passphrase" >"$T/pass"; mkdir "$T/home")
export MBACKUP_CONFIG=$T/mbackup.conf HOME=$T/home
config() # [line...]
{
	(
		umask 077
		printf '%s\n' '[global]' "spool = $T/spool" '[repository]' "url = $T/repo" "passphrase-file = $T/pass" \
			'[objects:shop]' 'url = s3://shop' "endpoint = $S3_ENDPOINT" "$@" >"$MBACKUP_CONFIG"
	)
}
config "credentials = anonymous"
ok "init" "$BUILD/mbackup" init
looks() { run env "$@" "$BUILD/mbackup" check --component shop; }
leads() # name VARIABLE=VALUE...
{
	local name=$1
	shift
	looks "$@"
	like "$out" "ok +shop +objects.reachable" "$name"
}
fails() # name regexp VARIABLE=VALUE...
{
	local name=$1 why=$2
	shift 2
	looks "$@"
	like "$out$err" "$why" "$name"
}

fails "anonymous may not" "AccessDenied|answered 403"
config
fails "no source: every place that was looked at is named" "AWS_ACCESS_KEY_ID|access-key"
fails "the same, with its detail" "credentials for the object store"
leads "environment" AWS_ACCESS_KEY_ID="$S3_ACCESS" AWS_SECRET_ACCESS_KEY="$S3_SECRET"
fails "half an environment" "AWS_SECRET_ACCESS_KEY is not" AWS_ACCESS_KEY_ID="$S3_ACCESS"

# -- profiles -------------------------------------------------------------------------------------------
mkdir -m 700 "$HOME/.aws"
cat >"$HOME/.aws/credentials" <<END
[default]
aws_access_key_id = wrong
aws_secret_access_key = wrong
# a comment
[shop]
aws_access_key_id=$S3_ACCESS
  s3 =
    aws_secret_access_key = nested
aws_secret_access_key   =   $S3_SECRET
END
printf '[profile outside]\ncredential_process = cat %s\n[profile broken]\ncredential_process = false\n' "$T/process.json" >"$HOME/.aws/config"
printf '{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s"}' "$S3_ACCESS" "$S3_SECRET" >"$T/process.json"
fails "the default profile's keys are wrong" "InvalidAccessKeyId|answered 403"
config "profile = shop"
leads "profile"
config
leads "AWS_PROFILE" AWS_PROFILE=shop
leads "credential_process" AWS_PROFILE=outside
fails "a credential_process that fails" "credential_process failed with status 1" AWS_PROFILE=broken
fails "a profile that is not there" "no profile \"nowhere\"" AWS_PROFILE=nowhere
rm -r "$HOME/.aws"

# -- who has to be asked ----------------------------------------------------------------------------------
PORT=$(free_port)
cat >"$T/tokens.py" <<'PY'
import http.server, json, os, sys, urllib.parse
access, secret = os.environ["S3_ACCESS"], os.environ["S3_SECRET"]
keys = {"AccessKeyId": access, "SecretAccessKey": secret, "Expiration": "2026-01-01T00:00:00Z"}
class Handler(http.server.BaseHTTPRequestHandler):
    def say(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args):
        print(self.command, self.path, flush=True)
    def do_GET(self):
        if self.path == "/container":
            good = self.headers.get("Authorization") == "a-token"
        else:
            good = self.headers.get("X-aws-ec2-metadata-token") == "instance-token"
        if self.path.endswith("/security-credentials/"):
            return self.say(200 if good else 401, "a-role\n")
        self.say(200 if good else 401, json.dumps(keys) if good else "no")
    def do_PUT(self):
        self.say(200, "instance-token")
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form.get("WebIdentityToken") == ["who+i/am=="] and form.get("Action") == ["AssumeRoleWithWebIdentity"]
        ns = "https://sts.amazonaws.com/doc/2011-06-15/"
        self.say(200 if good else 403, f"""<AssumeRoleWithWebIdentityResponse xmlns="{ns}"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{os.environ.get("STS_TOKEN", "t")}</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>""")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
python3 "$T/tokens.py" "$PORT" >"$T/tokens.log" 2>&1 &
stack_owns $!
wait_for 20 curl -s -o /dev/null "http://127.0.0.1:$PORT/container"
at=http://127.0.0.1:$PORT

leads "container" AWS_CONTAINER_CREDENTIALS_FULL_URI="$at/container" AWS_CONTAINER_AUTHORIZATION_TOKEN=a-token
echo a-token >"$T/token"
leads "container, token in a file" AWS_CONTAINER_CREDENTIALS_FULL_URI="$at/container" AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="$T/token"
ok "keys that have expired are asked for again" [ "$(grep -c 'GET /container' "$T/tokens.log")" -gt 6 ]
fails "container, wrong token" "container's credentials answered 401" AWS_CONTAINER_CREDENTIALS_FULL_URI="$at/container" AWS_CONTAINER_AUTHORIZATION_TOKEN=other
fails "keys are not asked for over somebody's network" "keys are not asked for at" AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.example.com/container"
fails "a container that is not there" "could not ask the container's credentials" AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:1/container"

# The gateway takes no notice of a session token that it did not give.
echo 'who+i/am==' >"$T/identity"
leads "web identity" AWS_WEB_IDENTITY_TOKEN_FILE="$T/identity" AWS_ROLE_ARN=arn:aws:iam::1:role/r AWS_ENDPOINT_URL_STS="$at"
ok "the token service was asked" grep -q "POST /" "$T/tokens.log"
echo other >"$T/identity"
fails "web identity, refused" "token service answered 403" AWS_WEB_IDENTITY_TOKEN_FILE="$T/identity" AWS_ENDPOINT_URL_STS="$at"

config "credentials = instance"
leads "instance" AWS_EC2_METADATA_SERVICE_ENDPOINT="$at"
fails "an instance that is none" "could not ask the instance's metadata" AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1
done_testing
