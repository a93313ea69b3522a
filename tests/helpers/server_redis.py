"""A redis-server."""

import redis
from servers import Server, free_port, program


class RedisServer(Server):
    """A server that keeps its streams in a folder.

    tls: certificates; then every client needs TLS.
    """

    def __init__(self, folder, tls=None):
        self.port = free_port()
        self._tls = tls
        plain, secure = ("0", str(self.port)) if tls else (str(self.port), "0")
        self.command = [
            program("redis-server"), "--bind", "127.0.0.1", "--port", plain, "--dir", str(folder),
            "--appendonly", "yes", "--save", "",
        ]  # fmt: skip
        if tls:
            self.command += [
                "--tls-port", secure, "--tls-ca-cert-file", tls.authority, "--tls-cert-file",
                tls.certificate, "--tls-key-file", tls.key, "--tls-auth-clients", "optional",
            ]  # fmt: skip
        self.start()

    def answers(self):
        try:
            return self.client().ping()
        except redis.ConnectionError:
            return False

    def client(self):
        tls = {"ssl": True, "ssl_ca_certs": self._tls.authority} if self._tls else {}
        return redis.Redis(
            port=self.port, protocol=2, decode_responses=True, host="127.0.0.1", **tls
        )

    def address(self, stream):
        scheme = "rediss" if self._tls else "redis"
        return f"{scheme}://127.0.0.1:{self.port}/{stream}"
