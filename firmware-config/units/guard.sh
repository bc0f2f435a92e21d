#!/bin/sh
# Runs as root before every start of the daemon. A deploy marks the release that it switches to and clears the mark once that
# release captions. A marked release that was started twice and is marked still has failed: the release before it comes back.
# Nothing in here may keep the daemon from starting, so it always ends well.
cd "${METALENS_ROOT:-}/opt/metalens" 2>/dev/null || exit 0
[ -f unconfirmed ] || exit 0

release='' previous='' starts=''
while IFS='=' read -r key value; do
  case $key in
    release) release=$value ;;
    previous) previous=$value ;;
    starts) starts=$value ;;
  esac
done <unconfirmed
case $starts in '' | *[!0-9]*) starts=0 ;; esac

# The mark is written before the switch: a power cut between the two leaves a mark of a release that never ran.
[ "$(readlink current)" = "releases/$release" ] || exit 0

if [ "$starts" -lt 2 ]; then
  printf 'release=%s\nprevious=%s\nstarts=%s\n' "$release" "$previous" "$((starts + 1))" >.unconfirmed.new &&
    sync && mv -f .unconfirmed.new unconfirmed && sync
elif [ -n "$previous" ] && [ -d "releases/$previous" ]; then
  echo "metalens: $release was started twice and not confirmed; $previous is back" >&2
  rm -f .current.new
  ln -s "releases/$previous" .current.new && mv -fT .current.new current && sync && rm -f unconfirmed && sync
fi
exit 0
