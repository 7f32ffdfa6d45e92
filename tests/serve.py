# SPDX-License-Identifier: Apache-2.0
"""The command's metrics server against clients that are slow, many, large or wrong: serve.py SERVE_TEXT"""

import contextlib
import http.client
import os
import pathlib
import random
import resource
import socket
import subprocess
import sys
import threading
import time

PROGRAM = sys.argv[1]
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def serving(address="127.0.0.1:0", *arguments):
    process = subprocess.Popen([PROGRAM, address, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline().strip()
    host, _, port = line.rpartition(":")
    yield process, (host.strip("[]"), int(port))
    process.stdin.close()
    assert process.wait(10) == 0, process.returncode  # under a sanitizer: no leak either


def connect(at):
    one = socket.create_connection(at, timeout=10)
    one.settimeout(10)
    return one


def read_all(one):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65536):
            data += piece
    one.close()
    return data


def ask(at, request, then=None):
    """Sends, closes its side where asked to, and reads to the end. @return status, head, body"""
    one = connect(at)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        one.sendall(request)
        if then == "shut":
            one.shutdown(socket.SHUT_WR)
    head, _, body = read_all(one).partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), head, body


def good(at, within=2.0):
    start = time.monotonic()
    connection = http.client.HTTPConnection(*at, timeout=10)
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    body = response.read()
    connection.close()
    took = time.monotonic() - start
    assert response.status == 200 and body.endswith(b"# EOF\n"), (response.status, body)
    assert took < within, took
    return body, response


def answers(at):
    body, response = good(at)
    assert response.getheader("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert int(response.getheader("Content-Length")) == len(body) and response.getheader("Connection") == "close"
    status, head, body = ask(at, b"HEAD /metrics HTTP/1.0\r\n\r\n")
    assert status == 200 and body == b"" and b"Content-Length: " in head
    for request, expected in [(b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", 200),
                              (b"GET /metrics HTTP/1.1\n\n", 200),
                              (b"GET / HTTP/1.1\r\n\r\n", 404),
                              (b"GET /metricsx HTTP/1.1\r\n\r\n", 404),
                              (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
                              (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
                              (b"DELETE /metrics HTTP/1.1\r\n\r\n", 405),
                              (b"GETX /metrics HTTP/1.1\r\n\r\n", 405),
                              (b"GET /metrics HTTP/2.0\r\n\r\n", 505),
                              (b"GET /metrics HTTP/1.11\r\n\r\n", 505),
                              (b"GET /metrics FTP/1.1\r\n\r\n", 400),
                              (b"GET metrics HTTP/1.1\r\n\r\n", 400),
                              (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
                              (b"GET /metrics\r\n\r\n", 400),
                              (b"get /metrics HTTP/1.1\r\n\r\n", 400),
                              (b"\r\n\r\n", 400), (b"\n\n", 400), (b" \r\n\r\n", 400),
                              (b"GET /metrics HTTP/1.1\r\n\x00\r\n\r\n", 400),
                              (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
                              (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 5000, 431),
                              (b"G" * 200000, 431),
                              (GET + b"x" * 300000, 200)]:
        status, _, body = ask(at, request)
        # A client that sends more than is read may get a reset before it has seen the answer, and nothing else.
        assert status == expected or (status == 0 and len(request) > 4096), (request[:60], status)
    assert ask(at, b"", "shut")[0] == 0 and ask(at, b"GET /met", "shut")[0] == 0
    assert ask(at, GET, "shut")[0] == 200


def in_pieces(at):
    for size in (1, 2, 7):
        one = connect(at)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(GET), size):
            one.sendall(GET[i:i + size])
        assert read_all(one).startswith(b"HTTP/1.1 200 ")


def slow_clients(at):
    """More of them than there are places, each a byte now and then: others are served all the time, and they are let go."""
    slow = [connect(at) for _ in range(40)]
    ended = time.monotonic() + 3.5
    while time.monotonic() < ended:
        for one in slow:
            with contextlib.suppress(OSError):
                one.sendall(b"G")
        good(at, within=1.0)
        time.sleep(0.1)
    for one in slow:
        read_all(one)
    one = connect(at)
    start = time.monotonic()
    data = read_all(one)
    assert data.startswith(b"HTTP/1.1 408 ") and 1.5 < time.monotonic() - start < 4, data


def clients_that_do_not_read():
    """An answer larger than any socket's buffer: whoever does not take it is let go, others are served."""
    with serving("127.0.0.1:0", "200000") as (process, at):
        idle = []
        for _ in range(8):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.connect(at)
            one.sendall(GET)
            idle.append(one)
        for _ in range(5):
            assert len(good(at)[0]) > 200000
        for one in idle:
            one.close()
        assert len(good(at)[0]) > 200000
    with serving("127.0.0.1:0", "100000000") as (process, at):  # no room for the text
        assert ask(at, GET)[0] == 503


def many(at):
    failed = []

    def one(index):
        try:
            for _ in range(5):
                good(at, within=10)
        except Exception as error:  # noqa: BLE001 whatever it was is reported
            failed.append((index, repr(error)))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[:3]


def garbage(at):
    numbers = random.Random(5)
    for i in range(200):
        request = bytes(numbers.choice(b"GET /metrics HTTP/1.1\r\n\x00\xff:") for _ in range(numbers.randrange(300)))
        status, _, _ = ask(at, request + b"\r\n\r\n")
        assert status in (0, 200, 400, 404, 405, 505), status
    for i in range(50):  # gone at once, with a reset
        one = connect(at)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        with contextlib.suppress(OSError):
            one.sendall(GET[:i % len(GET)])
        one.close()


def out_of_descriptors():
    """Who cannot be accepted waits, at little cost, and is answered when there are descriptors again."""
    with serving() as (process, at):
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (20, hard))  # fewer than its places, and what poll bears
        idle = [connect(at) for _ in range(20)]
        one = connect(at)
        one.sendall(GET)
        time.sleep(0.2)
        before = processor_seconds(process)
        time.sleep(1.2)
        used = processor_seconds(process) - before
        assert read_all(one).startswith(b"HTTP/1.1 200 ")
        assert used < 0.1, used
        for left in idle:
            left.close()
        good(at)


def text_is_kept(at):
    time.sleep(0.2)
    bodies = {good(at)[0] for _ in range(3)}
    time.sleep(0.2)
    assert good(at)[0] not in bodies


def open_files(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def processor_seconds(process):
    times = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def resident(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def refuses(address, says):
    result = subprocess.run([PROGRAM, address], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    assert result.returncode == 1 and says in result.stdout, (address, result.stdout)


def addresses():
    for address in ("", ":", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:1x", "example.org:80", "::1:80",
                    "[::1:80", "[]x:1", "127.0.0.1:-1", "a" * 300 + ":1"):
        refuses(address, "is not ADDR:PORT")
    for address in ("0", ":0", "localhost:0"):
        with serving(address) as (_, at):
            assert at[0] == "127.0.0.1"
            good(at)
            refuses(f"127.0.0.1:{at[1]}", "Address already in use")
    if os.path.exists("/proc/net/if_inet6") and "00000000000000000000000000000001" in open("/proc/net/if_inet6").read():
        with serving("[::1]:0") as (_, at):
            good(at)


def main():
    addresses()
    with serving() as (process, at):
        good(at)
        time.sleep(0.3)  # until it has closed that
        files, memory = open_files(process), resident(process)
        for check in (answers, in_pieces, garbage, many, text_is_kept, slow_clients):
            check(at)
            good(at)
            print(check.__name__, "ok")
        time.sleep(0.3)
        assert open_files(process) == files, (open_files(process), files)
        assert resident(process) < memory + 16384, (resident(process), memory)
        left = connect(at)  # open while the server ends
        left.sendall(b"GET")
    left.close()
    clients_that_do_not_read()
    print("clients_that_do_not_read ok")
    out_of_descriptors()
    print("out_of_descriptors ok")


main()
