"""Sends one packet for each cell of a truth table, all from this one process, and tells which of them arrived.

stdin: {"pods": [{"netns": text, "address": text}], "cells": [[src, dst, protocol, port, source port]]}; src and dst are indices of pods,
protocol is "TCP", "UDP" or "SCTP". stdout: a JSON list, true where the destination's pod saw the packet. The source port tells a cell's
packets from all others. What a packet asks for answers nobody here: SYNs meet a reset, INITs and datagrams an ICMP error.
"""

import ctypes
import json
import os
import select
import socket
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
PACKET_HOST = 0
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
# Nothing came for so long: nothing will.
QUIET_S = 0.3
# What full queues or unresolved neighbours lost comes with the second packet.
PASSES = 2

libc = ctypes.CDLL(None, use_errno=True)


def enter(netns):
    fd = os.open("/run/netns/" + netns, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns " + netns)
    finally:
        os.close(fd)


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF & ~total


def crc32c(data):
    """As SCTP has it (RFC 9260, appendix A): conntrack calls a packet with a wrong one invalid."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def packet(src, dst, protocol, port, sport):
    number = NUMBERS[protocol]
    source, target = socket.inet_aton(src), socket.inet_aton(dst)
    if protocol == "SCTP":
        # An INIT begins an association: type 1, then tag, window, streams out and in, first sequence number.
        chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1000 + sport, 65536, 1, 1, 1)
        header = struct.pack("!HHI", sport, port, 0)
        body = header + struct.pack("<I", crc32c(header + b"\0\0\0\0" + chunk)) + chunk
    else:
        if protocol == "TCP":
            body = struct.pack("!HHIIBBHHH", sport, port, 1, 0, 5 << 4, 2, 65535, 0, 0)
            place = 16
        else:
            body = struct.pack("!HHHH", sport, port, 12, 0) + b"cell"
            place = 6
        pseudo = source + target + struct.pack("!BBH", 0, number, len(body))
        body = body[:place] + struct.pack("!H", ones_sum(pseudo + body) or 0xFFFF) + body[place + 2 :]
    # The kernel fills in the checksum and the identification.
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, number, 0, source, target)
    return header + body


def main():
    asked = json.load(sys.stdin)
    pods, cells = asked["pods"], asked["cells"]
    senders, ears = [], {}
    for index, pod in enumerate(pods):
        enter(pod["netns"])
        senders.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        # Of this namespace, whatever namespace the process is in later. Without the link's header: what begins is IP.
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        ear.setblocking(False)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        ears[ear] = index
    by_sport = {cell[4]: index for index, cell in enumerate(cells)}
    arrived = [False] * len(cells)

    def listen(seconds):
        """Until nothing comes for so long."""
        until = time.monotonic() + seconds
        while True:
            ready = select.select(list(ears), [], [], max(0, until - time.monotonic()))[0]
            if not ready:
                return
            for ear in ready:
                if hear(ear):
                    until = time.monotonic() + seconds

    def hear(ear):
        heard = False
        while True:
            try:
                data, (_, _, kind, _, _) = ear.recvfrom(2048)
            except BlockingIOError:
                return heard
            if kind != PACKET_HOST or len(data) < 24 or data[0] >> 4 != 4:
                continue
            start = (data[0] & 15) * 4
            sport, port = struct.unpack("!HH", data[start : start + 4])
            index = by_sport.get(sport)
            if index is None:
                continue
            src, dst, protocol, wanted, _ = cells[index]
            if (
                ears[ear] == dst
                and port == wanted
                and data[9] == NUMBERS[protocol]
                and data[16:20] == socket.inet_aton(pods[dst]["address"])
                and data[12:16] == socket.inet_aton(pods[src]["address"])
            ):
                arrived[index] = heard = True

    for _ in range(PASSES):
        for index, (src, dst, protocol, port, sport) in enumerate(cells):
            if arrived[index]:
                continue
            data = packet(pods[src]["address"], pods[dst]["address"], protocol, port, sport)
            try:
                senders[src].sendto(data, (pods[dst]["address"], 0))
            except OSError:
                # Refused on the spot by the sender's own node: it has not arrived.
                pass
            if index % 54 == 53:
                listen(0)
        listen(QUIET_S)
    json.dump(arrived, sys.stdout)


main()
