"""A PostgreSQL server."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from certificates import certificates
from servers import Server, free_port, program, wait_until

USER, PASSWORD = "streamlstm", "s3cret/@:word"
PLACES = "/usr/lib/postgresql/*/bin"


class PostgreSQLServer(Server):
    """A server with passwords, with TLS and without, in a temporary folder.

    It does not run as root: if the tests do, it runs as the user postgres.
    """

    def __init__(self):
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
        self.tls = certificates(self._folder)
        Path(self.tls.key).chmod(0o600)
        word = self._folder / "password"
        word.write_text(PASSWORD)
        self._as_user = {"cwd": self._folder}
        if os.geteuid() == 0:
            self._as_user |= {"user": "postgres", "group": "postgres", "extra_groups": []}
            for path in (self._folder, *self._folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
        data = self._folder / "data"
        subprocess.run(
            [
                program("initdb", f"{PLACES}/initdb"), "--pgdata", data, "--username", USER,
                "--pwfile", word, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as_user,
        )  # fmt: skip
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "ssl": "on", "ssl_cert_file": self.tls.certificate, "ssl_key_file": self.tls.key,
        }  # fmt: skip
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.command = [program("postgres", f"{PLACES}/postgres"), "-D", data, *given]

    def start(self):
        """Start; children of a killed server may hold its memory for a moment."""

        def is_ready():
            if self._process is None or self._process.poll() is not None:
                with (self._folder / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        self.command, stdout=log, stderr=log, **self._as_user
                    )
            return self.answers()

        try:
            wait_until(is_ready, 30)
        except AssertionError as error:
            raise AssertionError((self._folder / "log").read_text()[-2000:]) from error

    def answers(self):
        try:
            self.client().close()
        except psycopg.OperationalError:
            return False
        return True

    def client(self):
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def address(self, options=""):
        return f"postgresql://{USER}:${{PGWORD}}@127.0.0.1:{self.port}/postgres{options}"

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # its children with it, clients or none
            self._process.wait()
        shutil.rmtree(self._folder)

    def __exit__(self, *error):
        self.close()
