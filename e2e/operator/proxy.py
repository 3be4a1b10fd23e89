"""Stands between an operator and the API server, and kills the operator with the answer to its Nth write: the write is done, and nobody
knows. Leases and events do not count: they come when they come.
"""

import re
import select
import socket
import threading
import time


class Proxy:
    def __init__(self, api):
        self.api = api
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.writes, self.last = [], time.monotonic()
        self.limit, self.kill = None, None
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, limit, kill):
        """From now on, the write of that number ends with `kill`."""
        with self.lock:
            self.writes, self.limit, self.kill = [], limit, kill
            self.last = time.monotonic()

    def is_quiet(self, seconds):
        """Whether nothing was written for so long."""
        with self.lock:
            return time.monotonic() - self.last > seconds

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        """Both directions in one thread: TLS of Python 3.11 breaks when two use one connection."""
        upstream = self.api.connect(timeout=None)
        upstream.connect()
        server, buffer, last = upstream.sock, b"", False
        try:
            while True:
                ready = [server] if server.pending() else select.select([client, server], [], [])[0]
                if client in ready:
                    received = client.recv(65536)
                    if not received:
                        return
                    request, buffer = split(buffer + received)
                    while request:
                        last = last or self._is_last(request.split(b"\r\n", 1)[0].decode())
                        server.sendall(request)
                        request, buffer = split(buffer)
                if server in ready:
                    received = server.recv(65536)
                    if not received:
                        return
                    if last:
                        with self.lock:
                            kill = self.kill
                        if kill:
                            kill()
                        return
                    client.sendall(received)
        except OSError:
            pass
        finally:
            close(server)
            close(client)

    def _is_last(self, line):
        method, path, _ = line.split(" ", 2)
        if method == "GET" or re.search(r"/(leases|events)(/|\?|$)", path):
            return False
        with self.lock:
            self.writes.append(f"{method} {path.split('?')[0]}")
            self.last = time.monotonic()
            return self.limit is not None and len(self.writes) == self.limit


def split(buffer):
    """The first whole request, if there is one, and what follows it."""
    head, end, rest = buffer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    length = int(length.group(1)) if length else 0
    if not end or len(rest) < length:
        return b"", buffer
    return head + end + rest[:length], rest[length:]


def close(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
