"""Sends raw IPv4 packets into this network namespace and says what became of each.

Input, a line a packet: "DEVICE ID HEX", DEVICE a TUN device, or "out" to send from the namespace itself.
Output: words "DEVICE:HEX" for what left by a TUN device and "local:HEX" for what was delivered to a socket.
"""
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001

tuns = {}
for name in sys.argv[1:]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    tuns[name] = fd
receivers = []
for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    receiver.setblocking(False)
    receivers.append(receiver)
sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
names = {fd: name for name, fd in tuns.items()}
waiting = list(tuns.values()) + receivers


def drain(timeout):
    """Everything that is ready now; `timeout` is how long to wait for the first."""
    seen = []
    while True:
        ready, _, _ = select.select(waiting, [], [], timeout)
        if not ready:
            return seen
        timeout = 0
        for source in ready:
            try:
                if source in names:
                    seen.append(f"{names[source]}:{os.read(source, 4096).hex()}")
                else:
                    seen.append(f"local:{source.recv(4096).hex()}")
            except BlockingIOError:
                pass


def warm_up(name, fd):
    """Opening a TUN device raises its carrier; its queue takes packets only some time after (linkwatch). AF_PACKET
    passes no netfilter hook, so this proves the queue alone."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    for _ in range(2000):
        raw.sendto(bytes(20), (name, 0x0800))
        if select.select([fd], [], [], 0.001)[0]:
            return
    sys.exit(f"{name} does not send")


for name, fd in tuns.items():
    warm_up(name, fd)
drain(0.01)
for line in sys.stdin:
    where, _, data = line.split()
    packet = bytes.fromhex(data)
    try:
        if where == "out":
            sender.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
        else:
            os.write(tuns[where], packet)
    except OSError as error:
        print(f"refused:{error.errno}", flush=False)
        continue
    # The kernel mostly handles the packet before write() returns. What comes later is printed later: its IP id names it.
    print(" ".join(drain(0) or drain(0.001)))
print(" ".join(drain(0.1)))
