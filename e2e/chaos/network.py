"""Hosts of a small network on this machine: a network namespace each, joined by a bridge in the namespace of the tester.

Faults are rules of nftables in the namespace of whoever does not hear, so that a cut can go one way only.
"""

import ctypes
import os
import subprocess

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
TESTER = "10.123.0.254"


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Network:
    """Host N has the address 10.123.0.N. This process moves into a namespace of its own, which ends with it."""

    def __init__(self):
        self.hosts = {}
        if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "unshare: a network namespace needs root")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "addr", "add", f"{TESTER}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")

    def add(self, number):
        """A new host; its namespace."""
        name = f"barnabas-{os.getpid()}-{number}"
        run("ip", "netns", "add", name)
        self.hosts[number] = name
        port = f"port{number}"
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", port, "master", "bridge", "up")
        for command in (["link", "set", "lo", "up"], ["addr", "add", f"10.123.0.{number}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run("ip", "netns", "exec", name, "ip", *command)
        run("ip", "netns", "exec", name, "nft", "add table inet cut; add chain inet cut input { type filter hook input priority 0; }")
        return name

    def deafen(self, host, *speakers):
        """`host` hears nothing of these any more: a cut in one direction."""
        for speaker in speakers:
            run("ip", "netns", "exec", self.hosts[host], "nft", "add", "rule", "inet", "cut", "input", "ip", "saddr", f"10.123.0.{speaker}", "drop")

    def cut(self, host, *others):
        """Neither hears the other."""
        self.deafen(host, *others)
        for other in others:
            self.deafen(other, host)

    def unplug(self, host):
        """No packet leaves or reaches it any more, as when a machine loses its power: nobody gets a reset."""
        run("ip", "link", "set", f"port{host}", "down")

    def heal(self):
        for number, name in self.hosts.items():
            run("ip", "netns", "exec", name, "nft", "flush", "chain", "inet", "cut", "input")
            run("ip", "link", "set", f"port{number}", "up")

    def close(self):
        for name in self.hosts.values():
            subprocess.run(["ip", "netns", "del", name], check=False)
