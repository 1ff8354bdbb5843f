"""Sends raw packets into this network namespace and says what came out and why the kernel dropped what did not.

Input, a line a packet: "DEVICE HEX", DEVICE a TUN device, or "socket ADDRESS" for a datagram of this process (IPv4).
Output: JSON {"out": ["DEVICE:HEX"], "reasons": ["NETFILTER_DROP"] or null where the tracepoint cannot be read}.
"""
import fcntl
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001


class Drops:
    """skb:kfree_skb of this process alone, in a tracing instance of its own. The mount lives in this mount namespace."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="pp-words-")
        self.path = None
        mounted = subprocess.run(["mount", "-t", "tracefs", "nodev", self.root], capture_output=True)
        if mounted.returncode != 0:
            return
        instances = os.path.join(self.root, "instances")
        for old in os.listdir(instances):
            if old.startswith("pp-words-") and not os.path.exists(f"/proc/{old.rsplit('-', 1)[1]}"):
                os.rmdir(os.path.join(instances, old))
        path = os.path.join(instances, f"pp-words-{os.getpid()}")
        try:
            os.mkdir(path)
        except OSError:
            return
        self.path = path
        self.write("set_event_pid", str(os.getpid()))
        self.write("events/skb/kfree_skb/enable", "1")

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w") as file:
            file.write(text)

    def close(self):
        reasons = None
        if self.path is not None:
            self.write("events/skb/kfree_skb/enable", "0")
            with open(os.path.join(self.path, "trace")) as file:
                reasons = re.findall(r"kfree_skb:.* reason: (\w+)", file.read())
            os.rmdir(self.path)
        subprocess.run(["umount", self.root], capture_output=True)
        os.rmdir(self.root)
        return reasons


tuns = {}
for name in sys.argv[2:]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    tuns[name] = fd
names = {fd: name for name, fd in tuns.items()}


def drain(seconds):
    """Everything that leaves by a TUN device until `seconds` have passed."""
    seen = []
    end = time.monotonic() + seconds
    while True:
        ready, _, _ = select.select(list(names), [], [], max(0, end - time.monotonic()))
        if not ready:
            return seen
        for fd in ready:
            seen.append(f"{names[fd]}:{os.read(fd, 4096).hex()}")


for name, fd in tuns.items():
    # Opening a TUN device raises its carrier; its queue takes packets only some time after (linkwatch).
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    for _ in range(2000):
        raw.sendto(bytes(20), (name, 0x0800))
        if select.select([fd], [], [], 0.001)[0]:
            break
    else:
        sys.exit(f"{name} does not send")
drain(0.02)
drops = Drops()
out = []
try:
    for line in sys.stdin:
        where, data = line.split()
        try:
            if where == "socket":
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (data, 80))
            else:
                os.write(tuns[where], bytes.fromhex(data))
        except OSError as error:
            out.append(f"error:{error.errno}")
        out += drain(float(sys.argv[1]))
finally:
    reasons = drops.close()
print(json.dumps({"out": out, "reasons": reasons}))
