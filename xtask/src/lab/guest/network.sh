#!/bin/sh
# The addresses of QEMU's own network, on the first interface that is there.
ip link set lo up
while :; do
  for interface in /sys/class/net/*; do
    name=${interface##*/}
    [ "$name" = lo ] || break 2
  done
  sleep 0.1
done
ip link set "$name" up
ip address add 10.0.2.15/24 dev "$name"
ip route add default via 10.0.2.2
