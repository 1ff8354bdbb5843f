"""Sends real packets from the namespace that it runs in. stdin: a JSON list of tries; stdout: a JSON list of outcomes.

A try is {"kind": "ping"|"tcp"|"udp"|"http"|"name", "host": text, "port": number, "bytes": number}.
An outcome is "ok", or the text of what went wrong. All tries run at once, each for at most 1.5 s.
"""

import concurrent.futures
import json
import socket
import subprocess
import sys
import urllib.request

TIMEOUT = 1.5


def ping(host, **_):
    done = subprocess.run(["ping", "-c1", "-W1", host], capture_output=True, text=True)
    return "ok" if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()[-1]


def tcp(host, port, bytes=0, **_):
    with socket.create_connection((host, port), timeout=TIMEOUT) as opened:
        payload = b"x" * max(bytes, 1)
        opened.sendall(payload)
        got = 0
        while got < len(payload):
            part = opened.recv(65536)
            if not part:
                return "closed after %d bytes" % got
            got += len(part)
    return "ok"


def udp(host, port, **_):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.settimeout(TIMEOUT)
        opened.connect((host, port))
        opened.send(b"hello")
        return "ok" if opened.recv(100) == b"hello" else "another answer"


def http(host, port, bytes=0, **_):
    where = "[%s]" % host if ":" in host else host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open("http://%s:%d/" % (where, port), data=b"x" * bytes or None, timeout=TIMEOUT) as answer:
        text = answer.read().decode().strip()
    return "ok" if not bytes or text == str(bytes) else text


def name(host, port=0, **_):
    found = {item[4][0] for item in socket.getaddrinfo(host, None)}
    return "ok" if found else "no address"


def run(item):
    try:
        return globals()[item["kind"]](**item)
    except Exception as error:
        return "%s: %s" % (type(error).__name__, error)


items = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(max(1, len(items))) as pool:
    json.dump(list(pool.map(run, items)), sys.stdout)
