"""A nats-server with JetStream, and a client for tests."""

import asyncio
import json
import threading

import nats
from nats.js.api import AckPolicy, ConsumerConfig
from servers import Server, free_port, program

_UNACKNOWLEDGED = ConsumerConfig(ack_policy=AckPolicy.NONE)


class NATSServer(Server):
    """A server that keeps its streams in a folder.

    tls: certificates. settings: further lines of its configuration.
    """

    def __init__(self, folder, tls=None, settings=""):
        self.port = free_port()
        self._tls = tls
        if tls:
            settings += f"\ntls {{ cert_file: '{tls.certificate}', key_file: '{tls.key}' }}"
        path = folder / "nats.conf"
        path.write_text(
            f"listen: '127.0.0.1:{self.port}'\njetstream {{ store_dir: '{folder / 'store'}' }}\n"
            f"log_file: '{folder / 'nats.log'}'\n{settings}"
        )
        self.command = [program("nats-server"), "-c", str(path)]
        self.start()

    def address(self, rest):
        return f"{'natss' if self._tls else 'nats'}://127.0.0.1:{self.port}/{rest}"

    def client(self, **options):
        return Client(self.port, **options)


class Client:
    """nats-py without async: its loop runs in a thread."""

    def __init__(self, port, **options):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        address = f"nats://127.0.0.1:{port}"

        async def told(error):
            """Ignore errors of the client; those of requests are raised by the requests."""

        options = {"reconnect_time_wait": 0.02, "error_cb": told, **options}
        self.connection = self(nats.connect(address, **options))
        self.streams = self.connection.jetstream(timeout=1)

    def __call__(self, action):
        """Return the result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(action, self.loop).result(30)

    def add(self, name, subject, **settings):
        self(self.streams.add_stream(name=name, subjects=[subject], **settings))

    def send(self, subject, payloads):
        """Publish payloads, many at a time; return their numbers."""

        async def publish():
            return [
                answer.seq
                for start in range(0, len(payloads), 500)
                for answer in await asyncio.gather(
                    *(
                        self.streams.publish(subject, payload, timeout=10)
                        for payload in payloads[start : start + 500]
                    )
                )
            ]

        return self(publish())

    def received(self, name):
        """Return the messages of a stream: the subject and the decoded JSON of each."""

        async def read():
            last = (await self.streams.stream_info(name)).state.last_seq
            reader = await self.streams.pull_subscribe("", stream=name, config=_UNACKNOWLEDGED)
            found = []
            while len(found) < last:
                found += await reader.fetch(1000)
            await reader.unsubscribe()
            return found

        return [(message.subject, json.loads(message.data)) for message in self(read())]

    def close(self):
        self(self.connection.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
