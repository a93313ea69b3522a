"""A PostgreSQL server for tests: processes of its own on a free port of the loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
from glob import glob
from pathlib import Path

import psycopg
import trustme
from servers import free_port, wait_until

USER, PASSWORD = "streamlstm", "s3cret/@:word"


class PostgreSQLServer:
    """A server that takes passwords, with TLS and without, and may be killed and restarted.

    It refuses to run as root: tests that do give it to the user postgres.
    """

    def __init__(self):
        self._initdb, self._postgres = _program("initdb"), _program("postgres")
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="streamlstm-postgresql-"))
        self._process = None
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise

    def _prepare(self):
        root = os.geteuid() == 0
        self._as_user = (
            {"user": "postgres", "group": "postgres", "extra_groups": []} if root else {}
        )
        self.authority = self._folder / "authority.pem"
        word = self._folder / "password"
        word.write_text(PASSWORD)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.cert_chain_pems[0].write_to_path(self._folder / "server.pem")
        key = self._folder / "server.key"
        certificate.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        if root:
            for path in (self._folder, *self._folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
        self._data = self._folder / "data"
        subprocess.run(
            [
                self._initdb, "--pgdata", self._data, "--username", USER, "--pwfile", word,
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as_user,
        )  # fmt: skip

    def start(self):
        """Start it; after a kill its children may hold its memory for a moment."""
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder, "ssl": "on",
            "ssl_cert_file": self._folder / "server.pem",
            "ssl_key_file": self._folder / "server.key",
        }  # fmt: skip
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

        def is_up():
            if self._process is None or self._process.poll() is not None:
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        [self._postgres, "-D", self._data, *given],
                        stdout=log,
                        stderr=log,
                        cwd=self._folder,
                        **self._as_user,
                    )
            try:
                self.client().close()
            except psycopg.OperationalError:
                return False
            return True

        try:
            wait_until(is_up, 30)
        except AssertionError as error:
            raise AssertionError((self._folder / "log").read_text()[-2000:]) from error

    def client(self):
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def address(self, options=""):
        return f"postgresql://{USER}:${{WORD}}@127.0.0.1:{self.port}/postgres{options}"

    def kill(self):
        """End it as a crash does; its children notice and end by themselves."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # at once, with its children
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _program(name):
    found = shutil.which(name)
    for path in sorted(glob(f"/usr/lib/postgresql/*/bin/{name}")):
        found = found or path
    assert found, f"these tests need {name} of PostgreSQL: apt-get install postgresql"
    return found
