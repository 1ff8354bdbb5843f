# Process 1 of a machine of the cluster: makes the machine's own directories, then reaps what is orphaned until it is killed.
# Runs in new mount, PID, UTS and IPC namespaces and in the machine's network namespace. Arguments: FOLDER NAME.
# All mounts are private: they go with the last process of the machine, also after a crash.
set -eu
folder=$1
name=$2
# /proc is still the one of the host: its "self" is this shell's number there.
read -r outer_pid _ </proc/self/stat
hostname "$name"

# What the host keeps below /run is not the machine's. Copies of other namespaces' mounts would also keep those alive.
umount --recursive --lazy /run/netns 2>/dev/null || true
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock

# /sys shows the devices of the network namespace that mounts it; the control groups stay the host's.
mkdir -p "$folder/cgroup"
mount --rbind /sys/fs/cgroup "$folder/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$folder/cgroup" /sys/fs/cgroup
umount --recursive --lazy "$folder/cgroup"

# Changes to these go to the machine's own copy.
for dir in etc opt var/lib; do
	mkdir -p "$folder/own/$dir" "$folder/work/$dir"
	mount -t overlay -o "lowerdir=/$dir,upperdir=$folder/own/$dir,workdir=$folder/work/$dir" overlay "/$dir"
done
# The runtime's snapshots are overlays themselves, and those cannot lie on one.
for dir in lib/containerd lib/kubelet lib/cni log; do
	mkdir -p "$folder/var/$dir" "/var/$dir"
	mount --bind "$folder/var/$dir" "/var/$dir"
done
mkdir -p /etc/cni/net.d /opt/cni/bin
for plugin in /usr/lib/cni/*; do ln -sf "$plugin" "/opt/cni/bin/${plugin##*/}"; done
echo "nameserver 10.99.0.1" >"/etc/resolv.conf.new" && mv /etc/resolv.conf.new /etc/resolv.conf
printf '127.0.0.1 localhost\n' >/etc/hosts

mount -t proc proc /proc
# The kubelet sets these for the whole machine (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables). It gets files to write to.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
	mkdir -p "$folder/sysctl/${setting%/*}"
	cat "/proc/sys/$setting" >"$folder/sysctl/$setting"
	mount --bind "$folder/sysctl/$setting" "/proc/sys/$setting"
done
sysctl -q -w net.ipv4.ip_forward=1

echo "$outer_pid" >"$folder/init.pid.new" && mv "$folder/init.pid.new" "$folder/init.pid"
# A shell that waits reaps whatever has become its child.
while :; do
	sleep 1000 &
	wait $! || true
done
