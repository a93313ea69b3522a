"""A Kafka server: librdkafka's own for tests, behind a front that can be killed.

One process keeps the messages in memory. Clients reach it through another process, the front, which
can add TLS and logins. Killing the front looks to clients like the crash of a server that keeps its
messages.
"""

import asyncio
import ssl
import struct
import subprocess
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from servers import Server, free_port, wait_until

PARTITIONS = 4
USER, PASSWORD = "me", "secret"


class KafkaServer(Server):
    """A server whose topics have four partitions that keep 5 MB each.

    tls: certificates. login: whether USER and PASSWORD are required. rate: limit of bytes a second
    from a client; 0 for none.
    """

    def __init__(self, tls=None, login=False, rate=0):
        self.port = free_port()
        self._tls = tls
        self._store = None
        self._options = [tls.certificate, tls.key] if tls else ["", ""]
        self._options += ["login" if login else "", str(rate)]
        self.start_empty()

    def start_empty(self):
        """Start without messages."""
        self._end_store()
        command = [sys.executable, __file__, "store"]
        self._store = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.direct = f"127.0.0.1:{int(self._store.stdout.readline())}"
        front = ["front", str(self.port), self.direct.rpartition(":")[2], *self._options]
        self.command = [sys.executable, __file__, *front]
        self.start()

    def _end_store(self):
        if self._store is not None:
            self._store.kill()
            self._store.communicate()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._end_store()

    def address(self, topic):
        return f"{'kafkas' if self._tls else 'kafka'}://127.0.0.1:{self.port}/{topic}"

    def client(self):
        return Client(self.direct)


class Client:
    """A client for tests, independent of the connectors."""

    def __init__(self, servers):
        self._settings = {"bootstrap.servers": servers, "log_level": 2}
        self._producer = Producer(
            self._settings
            | {"linger.ms": 0, "enable.idempotence": True, "message.timeout.ms": 5000}
            | {"message.max.bytes": 4_000_000}
        )

    def make(self, topic):
        """Make an empty topic."""
        wait_until(lambda: self._producer.list_topics(topic, 5).topics[topic].error is None)

    def send(self, topic, values, key="a"):
        """Send bytes or text; return whether all have arrived."""
        for value in values:
            self._producer.produce(topic, value, key)
        return self._producer.flush(5) == 0

    def reader(self, topic):
        """Return a consumer at the beginning of a topic."""
        reader = self._consumer()
        reader.assign([TopicPartition(topic, each, 0) for each in range(PARTITIONS)])
        return reader

    def bookmark(self, topic, group="streamlstm"):
        """Return the committed offsets of partitions that have one."""
        reader = self._consumer(group)
        places = [TopicPartition(topic, each) for each in range(PARTITIONS)]
        found = {each.partition: each.offset for each in reader.committed(places, 5)}
        reader.close()
        return {partition: offset for partition, offset in found.items() if offset >= 0}

    def _consumer(self, group="test"):
        return Consumer(self._settings | {"group.id": group, "fetch.wait.max.ms": 20})


def messages(reader):
    """Return the messages since the last call."""
    found = []
    while (message := reader.poll(0.05)) is not None:
        if message.error() is None:
            found.append(message)
        found += [each for each in reader.consume(10_000, 0) if each.error() is None]
    return found


def store():
    """Print the port, and keep messages until the standard input ends."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 2})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    print(broker.port, flush=True)
    sys.stdin.read()


class Front:
    """Forwards requests, and replaces the port of the store by its own in the answers."""

    def __init__(self, port, behind, certificate, key, login, rate):
        self.port, self.behind, self.login = int(port), int(behind), bool(login)
        self.rate = float(rate)
        self.tls = None
        if certificate:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(certificate, key)

    async def run(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        await server.serve_forever()

    async def _serve(self, reader, writer):
        to, back = await asyncio.open_connection("127.0.0.1", self.behind)
        answers = asyncio.create_task(self._answer(to, writer))
        try:
            while True:
                request = await _message(reader)
                if self.rate:
                    await asyncio.sleep(len(request) / self.rate)
                if self.login and request[:2] in (b"\0\x11", b"\0\x24"):
                    _send(writer, self._logged_in(request))
                else:
                    _send(back, request)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            answers.cancel()
            back.close()
            writer.close()

    async def _answer(self, reader, writer):
        here, there = (b"127.0.0.1" + struct.pack(">i", port) for port in (self.port, self.behind))
        lists_logins = not self.login
        try:
            while True:
                answer = await _message(reader)
                if not lists_logins and answer[4:6] == b"\0\0":  # a version that is known
                    answer = _with_logins(answer)
                    lists_logins = True
                _send(writer, answer.replace(there, here))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def _logged_in(self, request):
        """The answer to SaslHandshake or SaslAuthenticate."""
        correlation = request[4:8]
        if request[1] == 0x11:
            return correlation + struct.pack(">hih", 0, 1, 5) + b"PLAIN"
        if request.endswith(f"\0{USER}\0{PASSWORD}".encode()):
            return correlation + struct.pack(">hhi", 0, -1, 0)
        reason = b"wrong password"
        return correlation + struct.pack(">hh", 58, len(reason)) + reason + struct.pack(">i", 0)


def _with_logins(kinds):
    """An answer to ApiVersions with two more kinds of requests, each with its versions."""
    (count,) = struct.unpack(">i", kinds[6:10])
    logins = struct.pack(">hhhhhh", 17, 0, 1, 36, 0, 0)
    return kinds[:6] + struct.pack(">i", count + 2) + logins + kinds[10:]


async def _message(reader):
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def _send(writer, message):
    writer.write(struct.pack(">i", len(message)) + message)


if __name__ == "__main__":
    if sys.argv[1] == "store":
        store()
    else:
        asyncio.run(Front(*sys.argv[2:]).run())
