# Becomes systemd as process 1 of the namespaces that unshare has made. All that it might clean is covered
# first, and so is every unit of the host.
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/test /mnt/programs /mnt/source
mount --bind "$1" /mnt/test
mount --bind "$2" /mnt/programs
mount --bind "$3" /mnt/source
for directory in /run /tmp /var/tmp /var/lib; do mount -t tmpfs -o mode=755 tmpfs $directory; done
chmod 1777 /tmp /var/tmp
mount --bind /mnt/test/passwd /etc/passwd
mount --bind /mnt/test/group /etc/group
mkdir /run/deepserve /var/lib/deepserve
chown 990:990 /run/deepserve /var/lib/deepserve
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i PATH=/usr/bin:/bin container=deepserve-test SYSTEMD_UNIT_PATH=/mnt/test/units \
  SYSTEMD_GENERATOR_PATH=/mnt/test/none "$4" --system --unit=test.target --log-target=console --show-status=no
