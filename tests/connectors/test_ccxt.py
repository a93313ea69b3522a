"""ccxt against a local venue that speaks like Binance."""

import asyncio
import itertools
import json
import threading
import time

import ccxt.pro
import numpy as np
import pytest
from live_counter import Counter
from server_websocket import BEGIN, Binance, VenueServer
from servers import wait_until
from streamlstm_connectors.markets.ccxt import CCXTSource

from streamlstm.errors import ParameterError
from streamlstm.live.address import Address
from streamlstm.live.payload import Fields
from streamlstm.live.run import LiveRun

FIELDS = Fields("price", "symbol", "time", ("size", "side"))


class RawStreams(Binance):
    """Streams that are not combined, as ccxt wants them."""

    def answer(self, path, request, past):
        return True, [{"result": None, "id": request["id"]}]

    def trade(self, symbol, number, price):
        return super().trade(symbol, number, price)["data"]

    def ticker(self, symbol, time):
        """The one ccxt subscribes to, which has no bid and no ask."""
        data = super().ticker(symbol, time)["data"]
        return {name: data[name] for name in "Escohlvq"} | {"e": "24hrMiniTicker"}


@pytest.fixture
def server(monkeypatch):
    market = {
        "status": "TRADING", "isSpotTradingAllowed": True, "permissions": ["SPOT"], "filters": [],
        "orderTypes": [], "quoteAsset": "USDT",
    }  # fmt: skip

    class Local(ccxt.pro.binance):
        def __init__(self, *given):
            super().__init__(*given)
            self.urls["api"]["ws"]["spot"] = f"ws://127.0.0.1:{server.port}/stream/ws"
            self.options["crossMarginPairsData"] = self.options["isolatedMarginPairsData"] = []
            names = [{"symbol": f"{name}USDT", "baseAsset": name} for name in ("BTC", "ETH")]
            self.set_markets([self.parse_market(market | name) for name in names])

    monkeypatch.setattr(ccxt.pro, "binance", Local)
    with VenueServer(RawStreams()) as server:
        yield server


def source_of(names="BTC/USDT", options="", fields=FIELDS):
    return CCXTSource.from_address(Address(f"ccxt://binance/{names}{options}"), fields)


def opened(server, *given, position=None, requests=1):
    source = source_of(*given)
    before = server.requests
    source.open(position)
    wait_until(lambda: server.requests == before + requests and server.listeners)
    return source


def read(source, count):
    batches = []
    end = time.monotonic() + 10
    while (found := sum(len(each) + len(each.rejected) for each in batches)) < count:
        assert time.monotonic() < end, f"{found} of {count} have come"
        batch = source.read(count - found, 1.0)
        batches += [] if batch is None else [batch]
    return batches


def ids_of(batches):
    return [name for batch in batches for name in batch.ids]


def test_trades_have_fields_ids_and_times(server):
    source = opened(server)
    assert source.read(10, 0.05) is None
    for number in range(1, 51):
        server.trade(number)
    batches = read(source, 50)
    source.close()
    source.close()
    assert ids_of(batches) == [f"BTC/USDT-{number}" for number in range(1, 51)]
    batch = batches[0]
    assert batch.values[0] == 1
    assert (batch.features["size"][0], batch.features["side"][0]) == (100, -1)
    assert batch.keys[0] == "BTC/USDT"
    assert batch.timestamps[0] == (BEGIN + 1) * 10**6
    assert batches[-1].position == {"BTC/USDT": [BEGIN + 50, ["50"]]}


def test_repeated_trades_are_skipped(server):
    source = opened(server)
    for number in (1, 2):
        server.trade(number)
    position = json.loads(json.dumps(read(source, 2)[-1].position))
    source.close()
    wait_until(lambda: not server.listeners)
    again = opened(server, position=position)
    twin = server.venue.trade("BTCUSDT", 2, 2) | {"t": 20}  # in the same millisecond
    for message in [*(server.venue.trade("BTCUSDT", n, n) for n in (1, 2)), twin, twin]:
        server.send(message)
    server.trade(3)
    assert ids_of(read(again, 2)) == ["BTC/USDT-20", "BTC/USDT-3"]
    assert again.repeated == 3
    again.close()


def test_tickers_of_several_symbols_have_keys(server):
    fields = Fields("price", "symbol", "time", ("bid", "volume"))
    source = opened(server, "BTC/USDT,ETH/USDT", "?channel=ticker", fields, requests=2)
    for symbol in server.venue.symbols:
        server.send(server.venue.ticker(symbol, BEGIN))
    batches = read(source, 2)
    source.close()
    assert sorted(ids_of(batches)) == [f"BTC/USDT-{BEGIN}", f"ETH/USDT-{BEGIN}"]
    features = batches[0].features
    assert np.isnan(features["bid"][0])
    assert features["volume"][0] == 10000


def test_a_run_continues_after_lost_connections(server):
    run = LiveRun(Counter(), source_of(), wait=0.02)
    thread = threading.Thread(target=run.run)
    thread.start()
    sent = 0
    try:
        for _ in range(3):
            wait_until(lambda: server.listeners)
            for _ in range(20):
                sent += 1
                server.trade(sent)
            wait_until(lambda sent=sent: run.model.values[-1:] == [sent])
            server.cut()
    finally:
        run.stop()
        thread.join()
    assert run.model.values == [*range(1, 61)]
    assert run.metrics.source_errors >= 2


@pytest.mark.parametrize("poison", ["{", "[]", "7", '{"e": "trade", "s": "BTCUSDT"}', b"\xff"])
def test_bad_messages_do_not_end_a_run(server, poison):
    run = LiveRun(Counter(), source_of(), wait=0.02)
    thread = threading.Thread(target=run.run)
    thread.start()
    try:
        wait_until(lambda: server.listeners)
        server.trade(1)
        wait_until(lambda: run.model.values == [1])
        server.send(poison)

        def learns():
            server.trade(len(server.past) + 1)
            time.sleep(0.05)
            return len(run.model.values) > 5

        wait_until(learns)
    finally:
        run.stop()
        thread.join()
    assert run.model.values == sorted(set(run.model.values))


@pytest.mark.parametrize(
    ("address", "fields", "message"),
    [
        ("ccxt://nowhere/BTC/USDT", FIELDS, "ccxt has no streams of 'nowhere'"),
        ("ccxt:///BTC/USDT", FIELDS, "ccxt has no streams of None"),
        ("ccxt://binance/", FIELDS, "names no symbol"),
        ("ccxt://binance/BTC/USDT?channel=trade", FIELDS, "unknown channel 'trade'"),
        ("ccxt://binance/BTC/USDT", Fields("bid"), "has no field 'bid'"),
        ("ccxt://binance/BTC/USDT,ETH/USDT", Fields("price"), "several symbols"),
    ],
)
def test_addresses_and_fields_are_checked_before_connecting(address, fields, message):
    with pytest.raises(ParameterError, match=message):
        CCXTSource.from_address(Address(address), fields)


def test_symbols_are_checked_when_connected(server):
    source = source_of("XRP/USDT")
    with pytest.raises(ParameterError, match="the venue has no symbol 'XRP/USDT'"):
        source.open(None)
    source.close()
    with pytest.raises(ConnectionError, match="not connected"):
        source.read(1, 0)


@pytest.mark.parametrize("fault", ["error", "entry"])
def test_an_error_with_one_of_two_symbols_is_a_lost_connection(server, monkeypatch, fault):
    class Half(ccxt.pro.binance):
        numbers = itertools.count()

        async def watch_trades(self, symbol):
            await asyncio.sleep(0.001)
            if symbol == "BTC/USDT" and server.past:
                if fault == "entry":
                    return [{"id": "without a time"}]
                raise ccxt.pro.NetworkError("lost")
            number = next(self.numbers)
            return [{"id": str(number), "timestamp": BEGIN + number, "price": number}]

    monkeypatch.setattr(ccxt.pro, "binance", Half)
    source = source_of("BTC/USDT,ETH/USDT")
    source.open(None)
    assert set(read(source, 10)[0].keys) <= {"BTC/USDT", "ETH/USDT"}
    wait_until(lambda: source._arrived.qsize() > 10)
    server.trade(1)
    wait_until(lambda: source._arrived.qsize() > 200)  # the error is between ticks
    with pytest.raises(ConnectionError, match="ccxt://binance"):
        read(source, 10**9)
    source.close()


def test_an_unreachable_venue_is_a_lost_connection(server):
    source = source_of()
    server.close()
    source.open(None)
    with pytest.raises(ConnectionError, match="ccxt://binance"):
        source.read(1, 10)
    source.close()
