"""Serves one network namespace: runs tools in it, sets and reads sysctls, sends batches of raw packets and tells all that came of them.

Arguments: the TUN devices. Frames both ways: four bytes of length (big endian), one letter, the body.
`r` {"sysctl": [[key, value]], "run": [{"argv", "input", "free"}], "keys": [pattern]}: a JSON answer {"out": [text], "failed": text, "sysctl": text};
    the first command that fails ends it, unless it is free to fail.
`u`: milliseconds of processor time of this process and its commands, 4 bytes.
`p` packets, each: device (one byte; 255: sent by the namespace itself), mark (4), length (2), bytes. Answer, each: where (one byte: a
    device, 254 a socket of the namespace, 255 a refused send: number and errno, 4 bytes each), length (2), bytes.
"""
import fcntl
import glob
import json
import os
import resource
import select
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
IPV6_FLOWINFO = 11
SO_RCVBUFFORCE = 33
LOCAL, REFUSED, OWN = 254, 255, 255
drain_every = 64
protocols = (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP, socket.IPPROTO_ICMP)
protocols6 = (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP, socket.IPPROTO_ICMPV6)

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
out = []
tuns = []
for name in sys.argv[1:]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    tuns.append(fd)


def receiver(family, protocol):
    one = socket.socket(family, socket.SOCK_RAW, protocol)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    if family == socket.AF_INET6:
        for option in (IPV6_FLOWINFO, socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS):
            one.setsockopt(socket.IPPROTO_IPV6, option, 1)
    return one


receivers4 = [receiver(socket.AF_INET, p) for p in protocols]
receivers6 = [(p, receiver(socket.AF_INET6, p)) for p in protocols6]


def read6(protocol, source):
    """Raw IPv6 sockets give no header: it is put together again from what they tell beside the data."""
    data, extra, _, address = source.recvmsg(4096, 512)
    flow, hops, tclass, dst = 0, 0, 0, bytes(16)
    for level, kind, value in extra:
        if level != socket.IPPROTO_IPV6:
            continue
        if kind == IPV6_FLOWINFO:
            flow = struct.unpack("!I", value)[0] & 0xFFFFF
        elif kind == socket.IPV6_HOPLIMIT:
            hops = struct.unpack("i", value)[0]
        elif kind == socket.IPV6_TCLASS:
            tclass = struct.unpack("i", value)[0]
        elif kind == socket.IPV6_PKTINFO:
            dst = value[:16]
    src = socket.inet_pton(socket.AF_INET6, address[0].split("%")[0])
    return struct.pack("!IHBB", 6 << 28 | tclass << 20 | flow, len(data), protocol, hops) + src + dst + data


def put(where, data):
    out.append(struct.pack("!BH", where, len(data)) + data)


def drain():
    for number, fd in enumerate(tuns):
        try:
            while True:
                put(number, os.read(fd, 4096))
        except BlockingIOError:
            pass
    for one in receivers4:
        try:
            while True:
                put(LOCAL, one.recv(4096))
        except BlockingIOError:
            pass
    for protocol, one in receivers6:
        try:
            while True:
                put(LOCAL, read6(protocol, one))
        except BlockingIOError:
            pass


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


def send_own(mark, packet):
    if packet[0] >> 4 == 4:
        sender(socket.AF_INET, packet[12:16], mark).sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
    else:
        address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        sender(socket.AF_INET6, packet[8:24], mark).sendto(packet, (address, 0))


def send_batch(body):
    drain()
    out.clear()
    at, number, size = 0, 0, len(body)
    while at < size:
        where, mark, length = struct.unpack_from("!BIH", body, at)
        packet = body[at + 7 : at + 7 + length]
        at += 7 + length
        number += 1
        try:
            if where == OWN:
                send_own(mark, packet)
            else:
                os.write(tuns[where], packet)
        except OSError as error:
            put(REFUSED, struct.pack("!II", number, error.errno))
        if number % drain_every == 0:
            drain()
    drain()
    # What the kernel itself sends goes out while it takes the packet: a short look for stragglers is enough.
    while select.select(tuns, [], [], 0.01)[0]:
        drain()
    return b"".join(out)


def sysctl_path(key):
    return "/proc/sys/" + key.replace(".", "/")


def run(order):
    outputs, failed = [], None
    for key, value in order.get("sysctl", []):
        with open(sysctl_path(key), "w") as file:
            file.write(value)
    for command in order["run"]:
        done = subprocess.run(
            command["argv"], input=command.get("input", "").encode(), capture_output=True, env={**os.environ, "LC_ALL": "C"}
        )
        outputs.append(done.stdout.decode())
        if done.returncode != 0 and not command.get("free"):
            failed = f"{' '.join(command['argv'])}: {done.stderr.decode()}"
            break
    lines = []
    for pattern in order.get("keys", []):
        for path in glob.glob(sysctl_path(pattern)):
            with open(path) as file:
                lines.append(f"{path[10:].replace('/', '.')} = {file.read().strip()}")
    answer = {"out": outputs, "sysctl": "\n".join(lines) + "\n"}
    return json.dumps({**answer, "failed": failed} if failed else answer).encode()


def processor_time():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return struct.pack("!I", int(sum(one.ru_utime + one.ru_stime for one in used) * 1000))


def answer_to(kind, body):
    if kind == b"r":
        return run(json.loads(body))
    return processor_time() if kind == b"u" else send_batch(body)


for name, fd in zip(sys.argv[1:], tuns):
    warm_up(name, fd)
while True:
    head = stdin.read(5)
    if len(head) < 5:
        break
    body = stdin.read(struct.unpack("!I", head[:4])[0])
    answer = answer_to(head[4:], body)
    stdout.write(struct.pack("!I", len(answer)) + head[4:] + answer)
    stdout.flush()
