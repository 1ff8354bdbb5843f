"""Sends a batch of raw packets of both families into this network namespace and prints all that came of them.

Arguments: the TUN devices. Input, a line a packet: "DEVICE MARK HEX"; DEVICE "out" sends from the namespace itself.
Output, a line each: "DEVICE HEX" for what left, "local HEX" for what a socket got, "error LINE ERRNO" for a refused send.
"""
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
IPV6_FLOWINFO = 11
SO_RCVBUFFORCE = 33
drain_every = 48

out = []
tuns = {}
for name in sys.argv[1:]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    tuns[name] = fd


def receiver(family, protocol):
    one = socket.socket(family, socket.SOCK_RAW, protocol)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
    if family == socket.AF_INET6:
        for option in (IPV6_FLOWINFO, socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT):
            one.setsockopt(socket.IPPROTO_IPV6, option, 1)
    return one


receivers4 = [receiver(socket.AF_INET, p) for p in (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP)]
receivers6 = {
    p: receiver(socket.AF_INET6, p) for p in (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMPV6)
}


def read6(protocol, source):
    """Raw IPv6 sockets give no header: it is put together again from what they tell beside the data."""
    data, extra, _, address = source.recvmsg(4096, 512)
    flow, hops, dst = 0, 0, bytes(16)
    for level, kind, value in extra:
        if level != socket.IPPROTO_IPV6:
            continue
        if kind == IPV6_FLOWINFO:
            flow = struct.unpack("!I", value)[0] & 0xFFFFF
        elif kind == socket.IPV6_HOPLIMIT:
            hops = struct.unpack("i", value)[0]
        elif kind == socket.IPV6_PKTINFO:
            dst = value[:16]
    src = socket.inet_pton(socket.AF_INET6, address[0].split("%")[0])
    return struct.pack("!IHBB", 6 << 28 | flow, len(data), protocol, hops) + src + dst + data


def drain_one(read, name):
    while True:
        try:
            out.append(f"{name} {read().hex()}")
        except BlockingIOError:
            return


def drain():
    for name, fd in tuns.items():
        drain_one(lambda: os.read(fd, 4096), name)
    for one in receivers4:
        drain_one(lambda: one.recv(4096), "local")
    for protocol, one in receivers6.items():
        drain_one(lambda: read6(protocol, one), "local")


def warm_up(name, fd):
    """Opening a TUN device raises its carrier; its queue takes packets only some time after (linkwatch). AF_PACKET
    passes no netfilter hook, so this proves the queue alone."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    for _ in range(4000):
        raw.sendto(bytes(20), (name, 0x0800))
        if select.select([fd], [], [], 0.001)[0]:
            return
    sys.exit(f"{name} does not send")


senders = {}


def sender(family, src, mark):
    """Bound to its source, as a process that names it would be: routing rules look at it."""
    key = (family, src, mark)
    if key not in senders:
        one = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        one.bind((socket.inet_ntop(family, src), 0))
        senders[key] = one
    return senders[key]


def inject(where, mark, packet):
    if where != "out":
        os.write(tuns[where], packet)
    elif packet[0] >> 4 == 4:
        sender(socket.AF_INET, packet[12:16], mark).sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
    else:
        address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        sender(socket.AF_INET6, packet[8:24], mark).sendto(packet, (address, 0))


for name, fd in tuns.items():
    warm_up(name, fd)
drain()
out.clear()
for number, line in enumerate(sys.stdin, 1):
    where, mark, data = line.split()
    try:
        inject(where, int(mark), bytes.fromhex(data))
    except OSError as error:
        out.append(f"error {number} {error.errno}")
    if number % drain_every == 0:
        drain()
drain()
select.select(list(tuns.values()), [], [], 0.03)
drain()
sys.stdout.write("\n".join(out) + "\n")
