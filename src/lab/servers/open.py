"""Opens the lab's server sockets inside the pods' network namespaces, then becomes the Node.js process that serves them.

A socket belongs to the namespace it was made in for as long as it lives, so one process can serve every pod.
Node.js cannot enter a namespace (setns(2) is per thread, and libuv has many); hence this launcher.

usage: open.py NODE PROGRAM LABDIR < [{"netns": name, "protocol": "tcp"|"udp", "address": text, "port": number}, ...]
The program finds the descriptors, in the order of the list, in PODPATH_FDS. Descriptor 3 passes through to it.
"""

import ctypes
import json
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace_fd, name):
    if libc.setns(namespace_fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)


def open_socket(spec):
    family = socket.AF_INET6 if ":" in spec["address"] else socket.AF_INET
    kind = socket.SOCK_STREAM if spec["protocol"] == "tcp" else socket.SOCK_DGRAM
    opened = socket.socket(family, kind)
    if spec["protocol"] == "tcp":
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    opened.bind((spec["address"], spec["port"]))
    if spec["protocol"] == "tcp":
        opened.listen(128)
    opened.setblocking(False)
    opened.set_inheritable(True)
    return opened.detach()


def main():
    node, program, lab_dir = sys.argv[1:4]
    specs = json.load(sys.stdin)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    entered, descriptors = None, []
    for spec in specs:
        if spec["netns"] != entered:
            there = os.open("/run/netns/" + spec["netns"], os.O_RDONLY)
            enter(there, spec["netns"])
            os.close(there)
            entered = spec["netns"]
        try:
            descriptors.append(open_socket(spec))
        except OSError as error:
            sys.exit("cannot listen on %(protocol)s %(address)s port %(port)s in %(netns)s: " % spec + str(error))
    enter(home, "the host")
    os.environ["PODPATH_FDS"] = ",".join(map(str, descriptors))
    os.execv(node, [node, program, lab_dir])


main()
