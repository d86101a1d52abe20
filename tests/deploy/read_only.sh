#!/bin/sh
# Run a program where nothing can be written and nothing is privileged, as the images are run: `read_only.sh WRITABLE PROGRAM ARGS`, in a
# mount namespace of its own (`unshare --mount`). WRITABLE is the one directory that can be written, or "-".
set -eu
writable=$1
shift
mount --make-rprivate /
[ "$writable" = - ] || mount --bind "$writable" "$writable"
cut -d' ' -f5 /proc/self/mountinfo | while read -r point; do
  # Places that can't be changed (another's, or hidden under a later mount) are not for writing either: what follows looks.
  [ "$point" = "$writable" ] || mount -o remount,bind,ro "$point" 2>/dev/null || true
done
for directory in / /tmp /var/tmp /dev/shm /run "$PWD" "${HOME:-/}"; do
  if [ -d "$directory" ] && touch "$directory/runcast-read-only" 2>/dev/null; then
    rm -f "$directory/runcast-read-only"
    echo "read_only.sh: $directory can be written" >&2
    exit 3
  fi
done
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
