"""An OPC UA server in a separate process, which sets its nodes as lines of JSON say.

`OPCUAServer` starts the process and sends it the lines; run as a program, this file is the server.
"""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from servers import Server, free_port

URI = "urn:plant"


class OPCUAServer(Server):
    """A server of nodes `ns=2;s=NAME`; a restart forgets their values.

    certificates: paths of its certificate and key; only clients that sign and encrypt can connect.
    password: only the user "me" can log in.
    """

    def __init__(self, nodes, certificates=(), password=""):
        self.port = free_port()
        self._given = {
            "port": self.port,
            "nodes": [*nodes],
            "certificates": [*map(str, certificates)],
            "password": password,
        }
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        late = threading.Timer(30, self._process.kill)
        late.start()
        self._tell(self._given)
        late.cancel()

    def write(self, values, second=None):
        """Set values of nodes, at a second since 1970, or now."""
        said = {
            node: value if isinstance(value, dict) else {"value": value}
            for node, value in values.items()
        }
        self._tell({"write": said, "second": second})

    def delete(self, *nodes):
        self._tell({"delete": nodes})

    def add(self, *nodes):
        self._tell({"add": nodes})

    def _tell(self, command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer == "done\n", f"the server answers {answer!r}"

    def address(self, nodes="ns=2;s=a", options="", login=""):
        return f"opc.tcp://{login}127.0.0.1:{self.port}/plant?nodes={nodes}{options}"

    def kill(self):
        super().kill()
        self._process.stdin.close()
        self._process.stdout.close()


class Users:
    def __init__(self, password):
        self.password = password

    def get_user(self, server, username=None, password=None, certificate=None):
        from asyncua.crypto.permission_rules import User, UserRole

        return User(UserRole.User) if (username, password) == ("me", self.password) else None


async def serve():
    from asyncua import Server, ua

    given = json.loads(sys.stdin.readline())
    server = Server(user_manager=Users(given["password"]) if given["password"] else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{given['port']}/plant")
    policy = ua.SecurityPolicyType.NoSecurity
    if given["certificates"]:
        policy = ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt
        certificate, key = given["certificates"]
        await server.load_certificate(certificate)
        await server.load_private_key(key)
    server.set_security_policy([policy])
    index = await server.register_namespace(URI)
    nodes, said = {}, {}

    async def add(names):
        for name in names:
            made = server.nodes.objects.add_variable(ua.NodeId(name, index), f"Node {name}", 0.0)
            nodes[name] = await made
            write({name: {"value": 0.0}}, None)
            server.set_attribute_value_callback(  # of whatever type
                nodes[name].nodeid, lambda *_, name=name: said[name]
            )

    def write(values, second):
        moment = datetime.now(UTC) if second is None else datetime.fromtimestamp(second, UTC)
        for name, value in values.items():
            code = ua.StatusCode(getattr(ua.StatusCodes, value.get("status", "Good")))
            stamp = None if value.get("timeless") else moment
            said[name] = ua.DataValue(ua.Variant(value.get("value")), code, stamp)

    await add(given["nodes"])
    async with server:
        while True:
            print("done", flush=True)
            command = json.loads(await asyncio.to_thread(sys.stdin.readline))
            if "write" in command:
                write(command["write"], command["second"])
            await add(command.get("add", ()))
            for name in command.get("delete", ()):
                await server.delete_nodes([nodes.pop(name)])


if __name__ == "__main__":
    logging.disable()
    asyncio.run(serve())
