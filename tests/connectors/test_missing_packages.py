"""Connectors need their libraries only when they are used, and then name the extra to install."""

import sys
from importlib.util import find_spec, module_from_spec

import pytest

from streamlstm.errors import MissingPackageError

LIBRARIES = {  # by module, the library that it imports and the extra that installs it
    "brokers.kafka": ("confluent_kafka", "kafka"),
    "brokers.kafka_connection": ("confluent_kafka", "kafka"),
    "brokers.mqtt": ("paho.mqtt.client", "mqtt"),
    "brokers.mqtt_connection": ("paho.mqtt.client", "mqtt"),
    "brokers.nats": ("nats.aio.msg", "nats"),
    "brokers.nats_connection": ("nats.aio.client", "nats"),
    "brokers.redis": ("redis", "redis"),
    "brokers.redis_connection": ("redis", "redis"),
    "databases.postgresql": ("psycopg", "postgresql"),
    "files.parquet": ("pyarrow", "parquet"),
    "industry.opcua": ("asyncua", "opcua"),
    "markets.ccxt": ("ccxt.pro", "ccxt"),
    "markets.websocket": ("websockets.exceptions", "websocket"),
}


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_connector_without_its_library_names_the_extra(module, monkeypatch):
    library, extra = LIBRARIES[module]
    spec = find_spec(f"streamlstm_connectors.{module}")
    monkeypatch.setitem(sys.modules, library, None)
    install = rf"needs .*: pip install 'streamlstm\[{extra}\]'"
    with pytest.raises(MissingPackageError, match=install):
        spec.loader.exec_module(module_from_spec(spec))
