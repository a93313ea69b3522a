"""A mosquitto broker, and a client for tests."""

import getpass
import signal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from servers import Server, free_port, program, wait_until


class MQTTServer(Server):
    """A broker that keeps its sessions in a folder.

    lines: of its configuration. tls: certificates.
    """

    def __init__(self, folder, *lines, tls=None):
        self.port = free_port()
        self.folder = folder
        self.tls = tls
        self.command = [program("mosquitto"), "-c", str(folder / "mosquitto.conf")]
        self.configure(*lines)
        self.start()

    def configure(self, *lines):
        """Write the configuration of the next start."""
        settings = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",
            "max_queued_messages 0",
            f"user {getpass.getuser()}",  # who can write to the folder
            "log_dest none",
        ]
        if not any(line.startswith("max_inflight") for line in lines):
            settings.append("max_inflight_messages 65535")
        if not any(line.startswith("password_file") for line in lines):
            settings.append("allow_anonymous true")
        if self.tls:
            names = zip(("cafile", "certfile", "keyfile"), self.tls, strict=True)
            settings += [f"{name} {path}" for name, path in names]
        (self.folder / "mosquitto.conf").write_text("\n".join([*settings, *lines, ""]))

    def save(self):
        """Make the broker save its sessions, which it otherwise does each second."""
        self._process.send_signal(signal.SIGUSR1)
        wait_until((self.folder / "mosquitto.db").exists)

    def forget(self):
        """Delete the saved sessions."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def address(self, topic):
        scheme = "mqtts" if self.tls else "mqtt"
        return f"{scheme}://127.0.0.1:{self.port}/{topic}"

    def client(self, name="", topic=""):
        return MQTTClient(self, name, topic)


class MQTTClient:
    """Publishes messages, and keeps those that arrive at a topic.

    With a name the session lasts, and the client reconnects. It acknowledges nothing: writing to a
    broker that has died would lose what that had sent.
    """

    def __init__(self, server, name="", topic=""):
        self.messages = []
        self._topic = topic
        self._is_ready = self._is_lost = False
        self._made = Client(
            CallbackAPIVersion.VERSION2,
            name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=bool(name),
            manual_ack=bool(name),
        )
        self._made.max_inflight_messages_set(0)
        self._made.reconnect_delay_set(1, 1)
        if server.tls:
            self._made.tls_set(server.tls.authority)
        self._made.on_message = lambda client, userdata, message: self.messages.append(message)
        self._made.on_connect = self._connected
        self._made.on_subscribe = self._subscribed
        self._made.on_disconnect = self._lost
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 10_000 if name else 0
        self._made.connect("127.0.0.1", server.port, clean_start=not name, properties=properties)
        self._made.loop_start()
        wait_until(lambda: self._is_ready or self._is_lost)
        if not self._is_ready:
            raise ConnectionError("the broker has died")

    @property
    def is_connected(self):
        return self._made.is_connected()

    def tell(self, what):
        """Call a function with each message from now on, in the client's thread."""
        self._made.on_message = lambda client, userdata, message: what(message)

    def post(self, topic, payload, qos=1, retain=False):
        """Hand a message to the client, and do not wait."""
        return self._made.publish(topic, payload, qos, retain)

    def publish(self, topic, *payloads, **how):
        """Publish messages, and wait until the broker has acknowledged them."""
        for start in range(0, len(payloads), 1000):
            for sent in [self.post(topic, each, **how) for each in payloads[start : start + 1000]]:
                sent.wait_for_publish(20)

    def close(self):
        self._made.disconnect()
        self._made.loop_stop()

    def _connected(self, client, *others):
        if self._topic:
            client.subscribe(self._topic, 1)
        else:
            self._is_ready = True

    def _lost(self, *others):
        self._is_lost = True

    def _subscribed(self, *others):
        self._is_ready = True
