#!/usr/bin/env bash
# Holds a running daemon against its own description with schemathesis (https://schemathesis.readthedocs.io): every operation,
# with requests that are right, wrong and in every order; no answer may be another than the description says.
#
#   cargo build --workspace && tests/api/schemathesis.sh [MAX_EXAMPLES]
#
# Needs Python 3.10 or later, and PyPI at the first run. The program is METALENS, else target/debug/metalens. The two streams
# never end and are left out; tests/tests/daemon_http.rs reads them.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(realpath "${CARGO_TARGET_DIR:-target}")
metalens=${METALENS:-$target/debug/metalens}
python=$target/schemathesis

if [ ! -x "$python/bin/schemathesis" ]; then
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet schemathesis==4.32.5
fi

work=$(mktemp -d)
cat >"$work/metalens.toml" <<END
source = "files:tests/pictures/[a-h]*.jpg"
state = "$work/state"
bundle = "models/flickr8k-lite0"
[files]
rate = 2.0
[caption]
min_change = 0.0
[http]
listen = "127.0.0.1:0"
max_body_bytes = 65536
END
"$metalens" run --config "$work/metalens.toml" >"$work/captions" 2>"$work/log" &
daemon=$!
trap 'kill $daemon; wait $daemon || true; rm -rf "$work"' EXIT

# A caption has come: the snapshot is there, and the address was told.
for _ in $(seq 300); do
  if [ -s "$work/captions" ]; then break; fi
  if ! kill -0 $daemon; then cat "$work/log"; exit 1; fi
  sleep 0.2
done
url=$(sed -n 's|.*\(http://[^ ]*\) shows what the camera sees|\1|p' "$work/log")

# It leaves a folder of notes where it runs.
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$PWD/tests/api PYTHONDONTWRITEBYTECODE=1
cd "$work"
"$python/bin/schemathesis" run "$url/api/openapi.json" --max-examples "${1:-50}" --request-timeout 30 \
  --header "Authorization: Bearer $(cat "$work/state/token")" \
  --exclude-path /api/captions --exclude-path /api/stream.mjpg
