"""Connectors load without any library; each names the extra to install when it is used."""

import importlib
import sys

import pytest

from streamlstm.errors import MissingPackageError

PACKAGE = "streamlstm_connectors"
LIBRARIES = {  # by module, the library that it needs and the extra that installs it
    "brokers.kafka": ("confluent_kafka", "kafka"),
    "brokers.mqtt": ("paho.mqtt.client", "mqtt"),
    "brokers.nats": ("nats.aio.client", "nats"),
    "brokers.redis": ("redis", "redis"),
    "databases.postgresql": ("psycopg", "postgresql"),
    "files.parquet": ("pyarrow", "parquet"),
    "industry.opcua": ("asyncua", "opcua"),
    "markets.binance": ("websockets.exceptions", "websocket"),
    "markets.ccxt": ("ccxt.pro", "ccxt"),
    "markets.coinbase": ("websockets.exceptions", "websocket"),
    "markets.kraken": ("websockets.exceptions", "websocket"),
}


@pytest.fixture
def fresh(monkeypatch):
    """Let modules of connectors be imported anew."""
    for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_connector_without_its_library_names_the_extra(module, fresh, monkeypatch):
    library, extra = LIBRARIES[module]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingPackageError, match=rf"needs .*: pip install 'streamlstm\[{extra}\]'"
    ):
        importlib.import_module(f"{PACKAGE}.{module}")


@pytest.mark.parametrize("module", ["files.csv", "databases.sqlite"])
def test_csv_and_sqlite_need_no_library(module, fresh, monkeypatch):
    for library, _ in LIBRARIES.values():
        monkeypatch.setitem(sys.modules, library, None)
    importlib.import_module(f"{PACKAGE}.{module}")
