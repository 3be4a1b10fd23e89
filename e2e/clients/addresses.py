"""A free address on this machine."""

import random
import socket


def free():
    """Not of the ports that the kernel gives to clients: one that is free for a moment, because its program restarts, would be given away.
    Nor of those that a Kubernetes on this machine gives to Services."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{port}"


if __name__ == "__main__":
    print(free())
