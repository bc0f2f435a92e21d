#!/bin/busybox sh
# The first program of a guest: loads what its card needs and goes on from there.
/bin/busybox mkdir -p /proc /sys /dev /card
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod "$module" 2>/dev/null; done
root=$(/bin/busybox sed 's/.*root=\([^ ]*\).*/\1/' /proc/cmdline)
until [ -b "$root" ] && /bin/busybox mount -t ext4 "$root" /card; do /bin/busybox sleep 0.1; done
/bin/busybox umount /proc
exec /bin/busybox switch_root /card /lib/systemd/systemd
