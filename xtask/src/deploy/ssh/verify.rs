//! Checking a release on the device with the device's own tools.

/// A script that prints why the release in `folder` is not what it should be, or nothing. With a trusted key it needs
/// `minisign`, or an `openssl` of version 3.
pub fn script(folder: &str, key: &str, hash: &str) -> String {
    format!("folder={folder}; key={key}; hash={hash}\n{SCRIPT}")
}

/// The layout of minisign's files: <https://jedisct1.github.io/minisign/>, "Signature format". Second lines are base64 of
/// algorithm (2 bytes), key id (8), and key (32) or signature (64); the algorithm `ED` signs the BLAKE2b-512 of the file.
const SCRIPT: &str = r#"
bad() { echo "$1"; exit 0; }
cd "$folder" || exit 1
case $(sha256sum < SHA256SUMS) in
  "$hash"*) ;;
  *) bad "SHA256SUMS is not the one of this release" ;;
esac
sums=$(sha256sum -c SHA256SUMS 2>/dev/null) ||
  bad "$(echo "$sums" | sed -n 's/: FAILED open or read$/ is missing/p;s/: FAILED$/ has another sha256/p' | head -n 1)"
[ -f "$key" ] || exit 0
[ -f SHA256SUMS.minisig ] || bad "its signature is missing"
if command -v minisign >/dev/null; then
  minisign -Vqm SHA256SUMS -p "$key" >/dev/null 2>&1 || bad "its signature is not of the key that the device trusts"
  exit 0
fi
case $(openssl version 2>/dev/null) in
  "OpenSSL "[3-9]*) ;;
  *) echo "no tool to verify the signature; install one there: sudo apt install minisign" >&2; exit 1 ;;
esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
sed -n 2p "$key" | base64 -d > "$work/key" 2>/dev/null
sed -n 2p SHA256SUMS.minisig | base64 -d > "$work/box" 2>/dev/null
part() { tail -c "+$2" "$work/$1" | head -c "$3"; }
[ "$(part key 3 8 | sha256sum)" = "$(part box 3 8 | sha256sum)" ] || bad "its signature is of another key"
[ "$(part box 1 2)" = ED ] || bad "its signature is of an older kind"
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; part key 11 32; } > "$work/public"
part box 11 64 > "$work/signature"
openssl dgst -blake2b512 -binary SHA256SUMS > "$work/digest"
openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/public" -rawin -in "$work/digest" \
  -sigfile "$work/signature" >/dev/null 2>&1 || bad "its signature is not of the key that the device trusts"
"#;
