"""Servers for tests: separate processes on free ports of this machine."""

import glob
import shutil
import signal
import socket
import subprocess
import time


class Server:
    """A process that can be killed and restarted, and keeps its data in a folder.

    A derived class sets `command` and `port` in its constructor and calls `start`; it may say in
    `answers` when the server is ready.
    """

    command: list[str]

    def start(self):
        self._process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        wait_until(self._is_ready)

    def _is_ready(self):
        assert self._process.poll() is None, f"{self.command[0]} has ended"
        return self.answers()

    def answers(self):
        """Whether the server is ready."""
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionError:
            return False
        return True

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stall(self):
        """Stop the process: it accepts connections but does not answer, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()


def program(name, *elsewhere):
    """Return the path of a server's program: in PATH or in other usual places."""
    places = [name, f"/usr/sbin/{name}", f"/usr/local/sbin/{name}", f"/opt/homebrew/bin/{name}"]
    for place in [*places, *(found for pattern in elsewhere for found in glob.glob(pattern))]:
        if found := shutil.which(place):
            return found
    raise AssertionError(f"these tests need {name}: run tests/install_servers.sh")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, seconds=20):
    """Wait until a condition holds; fail if it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
