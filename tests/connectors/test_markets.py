"""Market data against local venues: what is learned once, what is counted, and errors."""

import json
import math
import os
import random
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress

import hypothesis.strategies as st
import pytest
import trustme
from hypothesis import given, settings
from live_counter import Counter
from server_websocket import BEGIN, Binance, Coinbase, Kraken, VenueServer
from servers import free_port, wait_until
from websockets.sync.server import serve

from streamlstm.errors import ParameterError, SnapshotError
from streamlstm.live.address import Address
from streamlstm.live.connector import connector
from streamlstm.live.payload import Fields
from streamlstm.live.run import LiveRun
from streamlstm.snapshots import Snapshots

FIELDS = Fields("price", key="symbol", time="time")
VENUES = [Binance(), Coinbase(), Kraken()]


@pytest.fixture(params=VENUES, ids=lambda venue: venue.scheme)
def server(request):
    with VenueServer(request.param) as server:
        yield server


def source_of(address, fields=FIELDS):
    address = Address(address)
    return connector("source", address).from_address(address, fields)


def opened(server, names=None, fields=FIELDS, options="", position=None):
    source = source_of(server.address(names, options), fields)
    source.open(position)
    wait_until(lambda: server.listeners)
    return source


def read(source, count):
    """Ids, values and reasons of so many ticks and messages that are none."""
    ids, values, reasons = [], [], []
    end = time.monotonic() + 10
    while len(ids) + len(reasons) < count:
        assert time.monotonic() < end, f"{len(ids) + len(reasons)} of {count} have come"
        batch = source.read(count, 1.0)
        if batch is not None:
            ids += batch.ids
            values += batch.values.tolist()
            reasons += [each.reason for each in batch.rejected]
    return ids, values, reasons


def numbers(ids):
    return [int(name.rpartition("-")[2]) for name in ids]


def live(source, state=None, **options):
    """A run in a thread, and the thread."""
    run = LiveRun(Counter(), source, None, state, wait=0.02, **options)
    thread = threading.Thread(target=run.run)
    thread.start()
    return run, thread


def test_trades_have_fields_ids_and_times(server):
    fields = Fields("price", "symbol", "time", ("size", "side", "trade"))
    source = opened(server, fields=fields)
    first, second = server.venue.symbols
    server.trade(7)
    server.trade(3, second)
    server.trade(8)
    batches = [source.read(1, 5) for _ in range(3)]
    source.close()
    assert [batch.ids for batch in batches] == [[f"{first}-7"], [f"{second}-3"], [f"{first}-8"]]
    assert [batch.position for batch in batches] == [
        {first: 7}, {first: 7, second: 3}, {first: 8, second: 3}
    ]  # fmt: skip
    batch = batches[0]
    assert batch.keys[0] == first
    assert batch.values[0] == 7
    size = {"binance": 100, "coinbase": 5.23512, "kraken": 0.00012}[server.venue.scheme]
    side = 1 if server.venue.scheme == "coinbase" else -1  # it tells the maker's
    assert [batch.features[name][0] for name in fields.features] == [size, side, 7]
    assert batch.timestamps[0] == (BEGIN + 7) * 10**6
    assert batch.received > 1.6e18


def test_read_returns_none_if_nothing_arrives(server):
    source = opened(server)
    start = time.monotonic()
    assert source.read(10, 0.1) is None
    assert 0.1 <= time.monotonic() - start < 1
    source.close()
    source.close()


def test_gaps_are_counted_and_repeated_trades_are_skipped(server, caplog):
    source = opened(server)
    symbol = server.venue.symbols[0]
    for number in [1, 2, 2, 5, 4, 1, 6]:
        server.trade(number)
    ids, values, reasons = read(source, 4)
    source.close()
    assert numbers(ids) == values == [1, 2, 5, 6]
    assert (source.missed, source.repeated, reasons) == (2, 3, [])
    assert f"{symbol}: 2 ticks missing between 2 and 5" in caplog.text


def test_a_source_counts_what_it_missed_while_disconnected(server):
    source = opened(server)
    server.trade(1)
    position = source.read(1, 5).position
    source.close()
    wait_until(lambda: not server.listeners)
    for number in range(2, 81):
        server.trade(number)
    again = opened(server, position=json.loads(json.dumps(position)))
    server.trade(81)
    sent_again = {"binance": [], "coinbase": [80], "kraken": [*range(31, 81)]}
    expected = [*sent_again[server.venue.scheme], 81]
    ids, _, _ = read(again, len(expected))
    assert numbers(ids) == expected
    assert again.missed == 80 - len(expected)
    again.close()


@pytest.mark.parametrize("orderly", [False, True], ids=["cut", "closed"])
def test_what_arrived_before_a_connection_was_lost_is_read_first(server, orderly):
    source = opened(server)
    for number in range(1, 11):
        server.trade(number)
    server.cut(orderly)
    time.sleep(0.2)
    assert numbers(read(source, 10)[0]) == [*range(1, 11)]
    with pytest.raises(ConnectionError, match=server.venue.scheme):
        source.read(10, 1)
    with pytest.raises(ConnectionError):
        source.read(10, 1)


def test_a_far_too_long_message_is_a_lost_connection(server):
    source = opened(server)
    server.trade(1)
    server.send("x" * (17 << 20))
    assert numbers(read(source, 1)[0]) == [1]
    with pytest.raises(ConnectionError, match="too big"):
        source.read(1, 5)
    source.close()


def test_a_slow_reader_keeps_what_has_arrived(server, monkeypatch):
    monkeypatch.setattr("streamlstm_connectors.markets.websocket.MAX_WAITING_MESSAGES", 100)
    source = opened(server, options="&silence=0.6")
    padded = [{"x": "x" * 10**6}] * 20  # more than the network holds

    def send():
        for number in range(1, 151):
            server.trade(number)
        for message in padded:
            server.send(message)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(2)
    ids, _, _ = read(source, 100)
    assert numbers(ids) == [*range(1, 101)]

    def rest():
        while True:
            source.read(100, 0.1)

    with pytest.raises(ConnectionError, match="keepalive"):
        rest()
    source.close()
    sender.join()


def test_a_silent_venue_is_a_lost_connection(server):
    source = opened(server, options="&silence=0.6")
    assert source.read(10, 1.0) is None  # it answers pings
    server.stall()
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="keepalive"):
        source.read(10, 10)
    assert time.monotonic() - start < 3
    source.close()


def test_a_venue_that_does_not_answer_is_a_lost_connection(server, monkeypatch):
    monkeypatch.setattr("streamlstm_connectors.markets.venue.VenueSource.timeout_seconds", 0.2)
    server.silent = True
    source = source_of(server.address())
    with pytest.raises(ConnectionError, match="does not answer"):
        source.open(None)
    source.close()


def test_an_unreachable_venue_is_a_lost_connection():
    source = source_of(f"kraken://127.0.0.1:{free_port()}/BTC/USD?tls=0")
    with pytest.raises(ConnectionError, match="kraken://127"):
        source.open(None)
    with pytest.raises(ConnectionError, match="not connected"):
        source.read(1, 0.1)
    source.close()


def test_a_refusal_is_an_error_with_the_words_of_the_venue(server):
    names = {"binance": "refused@trade"}.get(server.venue.scheme, "REFUSED")
    source = source_of(server.address(names))
    with pytest.raises(ParameterError, match=r"refuses.*(refused|REFUSED)"):
        source.open(None)
    source.close()


def test_a_refusal_that_passes_is_a_lost_connection(server, monkeypatch):
    refusals = {
        "binance": {"error": {"code": 3, "msg": "Too many requests"}, "id": 1},
        "coinbase": {"type": "error", "message": "Rate limit exceeded"},
        "kraken": {"error": "Exceeded msg rate", "method": "subscribe", "success": False},
    }
    refusal = refusals[server.venue.scheme]
    monkeypatch.setattr(server.venue, "answer", lambda *given: (False, [refusal]))
    source = source_of(server.address())
    with pytest.raises(ConnectionError, match="refuses"):
        source.open(None)
    source.close()


def test_a_run_continues_after_lost_connections(server):
    run, thread = live(source_of(server.address()))
    sent = 0

    def send(count):
        nonlocal sent
        for _ in range(count):
            sent += 1
            server.trade(sent)

    try:
        for _ in range(5):
            wait_until(lambda: server.listeners)
            send(20)
            wait_until(lambda: run.model.values[-1:] == [sent])
            server.cut()
            send(10)  # while nobody listens
        wait_until(lambda: server.listeners)
        send(1)
        wait_until(lambda: run.model.values[-1:] == [sent])
    finally:
        run.stop()
        thread.join()
    learned = run.model.values
    assert learned == sorted(set(learned))
    assert len(learned) + run.metrics.missed == sent
    assert run.metrics.missed == {"binance": 50, "coinbase": 45, "kraken": 0}[server.venue.scheme]
    assert run.metrics.source_errors >= 5


def test_each_trade_is_learned_once_although_the_run_is_killed(server, tmp_path):
    chance = random.Random(1)
    state, sent, killed = tmp_path / "state", 0, set()

    def start():
        run = subprocess.Popen(
            [sys.executable, __file__, server.address(), state],
            stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        wait_until(lambda: server.listeners)
        return run

    def saved():
        """What the last snapshot has learned; of a copy, for the run holds the original."""
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        with suppress(OSError, SnapshotError, shutil.Error):
            shutil.copytree(state, copy, ignore=shutil.ignore_patterns("*lock*"))
            with Snapshots(copy) as snapshots:
                found = snapshots.load()
                return [] if found is None else found.model.values
        return []

    with (tmp_path / "log").open("w") as log:
        run = start()
        try:
            for _ in range(5):
                end = chance.randrange(1, 45)
                for n in range(45):  # fewer than Kraken sends again
                    sent += 1
                    server.trade(sent)
                    if n == end:
                        run.kill()
                        run.wait()
                        wait_until(lambda: not server.listeners)
                        killed.update(range(sent - end, sent - end + 45))
                    time.sleep(0.004)
                run = start()
                sent += 1
                server.trade(sent)
                wait_until(lambda sent=sent: saved()[-1:] == [sent])
        finally:
            run.kill()
            run.wait()
    learned = saved()
    missing = set(range(1, sent + 1)) - set(learned)
    assert learned == sorted(set(learned))
    assert missing <= killed
    assert (len(missing) > 0) == (server.venue.scheme != "kraken")


@pytest.mark.parametrize(
    "poison", ["", "{", "[1]", "{}", "7", b"\xff", "[" * 100_000, json.dumps({"x": "x" * 10**7})],
    ids=["empty", "cut", "list", "fields", "number", "bytes", "deep", "long"],
)  # fmt: skip
def test_messages_that_are_not_ticks_are_rejected_with_a_reason(server, poison):
    source = opened(server)
    server.trade(1)
    server.send(poison)
    server.trade(2)
    ids, _, reasons = read(source, 3)
    source.close()
    assert numbers(ids) == [1, 2]
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", None, ""),  # a tick whose value is missing
        ("price", "high", "price: 'high' is not a number"),
        ("price", math.nan, "price: 'NaN' is not a number"),
        ("price", {"a": 1}, "price: \"{'a': '1'}\" is not a number"),
        ("price", False, "price: 'False' is not a number"),
        ("price", ..., "price: missing"),
        ("time", "soon", "time: 'soon' is not a time"),
        ("time", [1], "time: \"['1']\" is not a time"),
        ("side", ..., ""),
        ("side", [], "side: '[]' is not a number"),
        ("symbol", [7], "no symbol"),
        ("symbol", "", "no symbol"),
        ("trade", -1, "out of range"),
        ("trade", 2**63, "out of range"),
        ("trade", "x", "neither a number nor a time"),
        ("trade", True, "neither a number nor a time"),
        ("trade", ..., "neither a number nor a time"),
        ("trade", "9" * 5000, "neither a number nor a time"),
    ],
    ids=lambda value: str(value)[:10],
)
def test_trades_with_bad_fields_are_rejected(server, field, value, reason):
    source = opened(server, fields=Fields("price", "symbol", "time", ("side",)))
    name = {"symbol": source.symbol_field, **source.channels[source.channel].fields}[field]
    message = server.venue.trade(server.venue.symbols[0], 2, 2)
    entry = message.get("data", message)
    entry = entry[0] if isinstance(entry, list) else entry
    if value is ...:
        del entry[name]
    else:
        entry[name] = value
    server.trade(1)
    server.send(message)
    server.trade(3)
    ids, _, reasons = read(source, 3)
    source.close()
    assert numbers(ids) == ([1, 3] if reason else [1, 2, 3])
    assert reason in "".join(reasons)
    assert len(reasons) == bool(reason)


def test_bad_messages_go_to_a_file_and_the_run_continues(server, tmp_path):
    poison = ["{", {"nothing": 1}, server.venue.trade("", 1, 1), "7"]
    run, thread = live(source_of(server.address()), dead_letters=tmp_path / "dead")
    try:
        wait_until(lambda: server.listeners)
        for n in range(1, 1001):
            server.trade(n)
            if n % 10 == 0:
                server.send(poison[n // 10 % 4])
        wait_until(lambda: run.metrics.ticks + run.metrics.rejected == 1100)
    finally:
        run.stop()
        thread.join()
    assert run.model.values == [*range(1, 1001)]
    lines = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert len(lines) == run.metrics.rejected == 100
    assert all(line["id"] and line["reason"] for line in lines)


def test_a_bad_entry_does_not_reject_the_others_of_its_message():
    with VenueServer(Kraken()) as server:
        source = opened(server)
        good = [server.venue.entry("BTC/USD", n, n) for n in (1, 2)]
        server.send({"channel": "trade", "type": "update", "data": [good[0], 5, {}, good[1]]})
        ids, _, reasons = read(source, 4)
        source.close()
    assert numbers(ids) == [1, 2]
    assert reasons == ["not an object with fields", "symbol: no symbol"]


def test_messages_that_keep_the_connection_are_ignored():
    others = [
        {"e": "serverShutdown", "E": BEGIN},
        Coinbase().heartbeat("BTC-USD"),
        {"channel": "heartbeat"},
    ]
    for venue, other in zip(VENUES, others, strict=True):
        with VenueServer(venue) as server:
            source = opened(server)
            server.send(other)
            server.trade(1)
            assert numbers(read(source, 1)[0]) == [1]
            assert source.read(1, 0) is None
            source.close()


def test_an_error_after_the_subscription_is_a_lost_connection():
    errors = [
        {"code": 1, "msg": "gone wrong"},
        {"type": "error", "message": "gone wrong"},
        {"error": "gone wrong", "method": "subscribe", "success": False},
    ]
    for venue, error in zip(VENUES, errors, strict=True):
        with VenueServer(venue) as server:
            source = opened(server)
            server.trade(1)
            server.send(error)
            assert numbers(read(source, 1)[0]) == [1]
            with pytest.raises(ConnectionError):
                source.read(1, 5)
            source.close()


def test_klines_of_binance_are_read_when_complete():
    with VenueServer(Binance()) as server:
        fields = Fields("close", "symbol", "time", ("open", "high", "low", "volume", "trades"))
        source = opened(server, "btcusdt@kline_1m", fields)
        for minute, close, final in [(0, 1, False), (0, 2, True), (1, 3, False), (3, 4, True)]:
            server.send(server.venue.kline("BTCUSDT", 60_000 * minute, close, final))
        ids, values, _ = read(source, 2)
        source.close()
    assert ids == ["BTCUSDT-0", "BTCUSDT-180000"]
    assert values == [2, 4]
    assert source.missed == 2


def test_tickers_of_binance_have_their_fields():
    with VenueServer(Binance()) as server:
        source = opened(server, "bnbbtc@ticker", Fields("price", features=("bid", "ask_size")))
        server.send(server.venue.ticker("BNBBTC", BEGIN))
        server.send(server.venue.ticker("BNBBTC", BEGIN))
        server.send(server.venue.ticker("BNBBTC", BEGIN + 5000))
        assert read(source, 2)[0] == [f"BNBBTC-{BEGIN}", f"BNBBTC-{BEGIN + 5000}"]
        source.close()
        assert (source.missed, source.repeated) == (0, 1)
        source = opened(server, "bnbusdt@bookTicker", Fields("bid", features=("ask",)))
        server.send(server.venue.book_ticker("BNBUSDT", 400900217))
        batch = source.read(1, 5)
        source.close()
    assert (batch.values[0], batch.features["ask"][0]) == (25.3519, 25.3652)


def test_tickers_of_coinbase_have_their_fields():
    with VenueServer(Coinbase()) as server:
        fields = Fields("price", "symbol", "time", ("size", "side", "bid", "ask", "sequence"))
        source = opened(server, "ETH-USD", fields, "&channel=ticker")
        server.send(server.venue.ticker("ETH-USD", 370843401))
        batch = source.read(1, 5)
        source.close()
    found = [batch.values[0], *(column[0] for column in batch.features.values())]
    assert found == [1285.22, 11.4396987, 1, 1285.04, 1285.27, 37475248783]
    assert batch.ids == ["ETH-USD-370843401"]
    assert batch.timestamps[0] == 1666222102061769000


def test_tickers_of_kraken_have_their_fields():
    with VenueServer(Kraken()) as server:
        source = opened(server, "ALGO/USD", Fields("price", time="time"), "&channel=ticker")
        for second in (1, 1, 2):
            server.send(server.venue.ticker("ALGO/USD", second))
        ids, values, _ = read(source, 2)
        source.close()
    assert ids == ["ALGO/USD-1695632641123456", "ALGO/USD-1695632642123456"]
    assert (values, source.repeated) == ([0.10035] * 2, 1)


def test_candles_of_kraken_are_read_when_the_next_has_begun():
    with VenueServer(Kraken()) as server:
        candle, candles = server.venue.candle, server.venue.candles
        options = "&channel=ohlc&interval=1"
        source = opened(server, "MATIC/USD", Fields("close", time="time"), options)
        snapshot = [candle("MATIC/USD", minute, minute) for minute in (20, 21, 24)]
        server.send(candles("snapshot", *snapshot))
        server.send(candles("update", candle("MATIC/USD", 24, 5)))
        server.send(candles("update", candle("MATIC/USD", 25, 6)))
        time.sleep(0.2)
        batch = source.read(3, 5)
        assert batch.values.tolist() == [20, 21, 5]
        source.close()
        wait_until(lambda: not server.listeners)
        source.open(batch.position)
        wait_until(lambda: server.listeners)
        after = [candle("MATIC/USD", minute, minute) for minute in (24, 26, 27)]
        server.send(candles("snapshot", *after))
        assert read(source, 1)[1] == [26]  # how the one before it ended is not known
        source.close()
    assert source.missed == 0


def test_tls_checks_certificates(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with VenueServer(Coinbase(), context) as server:
        address = f"coinbase://127.0.0.1:{server.port}/BTC-USD"
        source = source_of(f"{address}?ca={tmp_path / 'ca.pem'}")
        source.open(None)
        wait_until(lambda: server.listeners)
        server.trade(1)
        assert numbers(read(source, 1)[0]) == [1]
        source.close()
        with pytest.raises(ParameterError, match="no trusted certificate"):
            source_of(address).open(None)
        with pytest.raises(ParameterError, match="cannot use the certificates"):
            source_of(f"{address}?ca={tmp_path / 'none.pem'}")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ParameterError), (451, ParameterError), (429, ConnectionError), (503, ConnectionError)],
)
def test_http_errors_pass_or_end_the_run(status, error):
    def answer(connection, request):
        return connection.respond(status, "")

    server = serve(lambda connection: None, "127.0.0.1", 0, process_request=answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.socket.getsockname()[1]
    with pytest.raises(error, match=str(status)):
        source_of(f"kraken://127.0.0.1:{port}/BTC/USD?tls=0").open(None)
    server.shutdown()
    thread.join()


@pytest.mark.parametrize(
    ("address", "fields", "message"),
    [
        ("binance:///", FIELDS, "names no symbol"),
        ("binance:///a@trade,b@aggTrade", FIELDS, "has the channels"),
        ("binance:///a@depth", FIELDS, "unknown channel 'depth'; known are trade, aggTrade"),
        ("coinbase:///BTC-USD?channel=full", FIELDS, "unknown channel 'full'"),
        ("kraken:///BTC/USD?chanel=trade", FIELDS, "'chanel'"),
        ("kraken:///BTC/USD?silence=0", FIELDS, "silence must be above 0"),
        ("kraken:///BTC/USD", Fields("bid"), "trade has no field 'bid'; it has symbol, price"),
        ("kraken:///BTC/USD", Fields(), "has no field 'value'"),
        ("binance:///a@bookTicker", Fields("bid", time="time"), "has no field 'time'"),
        ("coinbase:///BTC-USD", Fields("price", features=("ask",)), "has no field 'ask'"),
        ("coinbase:///BTC-USD", Fields("price", features=("symbol",)), "can only be the key"),
        ("coinbase:///BTC-USD", Fields("price", sequence="ask"), "has no field 'ask'"),
        ("coinbase:///BTC-USD,ETH-USD", Fields("price"), "several symbols"),
    ],
)
def test_addresses_and_fields_are_checked_before_connecting(address, fields, message):
    with pytest.raises(ParameterError, match=message):
        source_of(address, fields)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("binance:///btcusdt@trade", "wss://stream.binance.com:9443/stream"),
        ("coinbase:///BTC-USD", "wss://ws-feed.exchange.coinbase.com:443/"),
        ("kraken:///BTC/USD", "wss://ws.kraken.com:443/v2"),
        ("binance://data-stream.binance.vision/a", "wss://data-stream.binance.vision:443/stream"),
        ("kraken://here/BTC/USD?tls=0", "ws://here:80/v2"),
        ("kraken://here:8080/BTC/USD?tls=0", "ws://here:8080/v2"),
    ],
)  # fmt: skip
def test_addresses_become_urls(address, url):
    assert source_of(address)._socket._url == url


def test_the_command_reads_a_venue(server, kernels, tmp_path):
    command = [
        sys.executable, "-m", "streamlstm", "run", "--source", server.address(),
        "--key", "symbol", "--value", "price", "--time", "time", "--features", "size,side",
        "--season", "none", "--preset", "fast", "--hidden-size", "4", "--window", "5",
        "--limit", "20", "--state", tmp_path / "state",
    ]  # fmt: skip
    run = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    try:
        wait_until(lambda: server.listeners, 60)
        for n in range(10):
            for symbol in server.venue.symbols:
                server.trade(n, symbol)
        printed, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 0
    assert json.loads(printed)["ticks"] == 20


class Feed:
    """In place of a WebSocket: messages, and ends of the connection."""

    def __init__(self, answers, events):
        self._answers = answers
        self._events = list(events)
        self._given = []

    def open(self):
        self._given = list(self._answers)

    def send(self, message):
        pass

    def close(self):
        self._given = [None]

    def receive(self, seconds):
        if self._given[:1] == [None]:
            raise ConnectionError("lost")
        if self._given:
            return self._given.pop(0)
        if not self._events:
            return None
        event = self._events.pop(0)
        if event is None:
            self._given = [None]
            raise ConnectionError("lost")
        return event


@st.composite
def feeds(draw):
    """A venue, and messages about trades of two symbols: shuffled, repeated, cut, ended."""
    venue = draw(st.sampled_from(VENUES))
    numbers = st.tuples(st.sampled_from(venue.symbols), st.integers(0, 30))
    whole = numbers.map(lambda trade: json.dumps(venue.trade(*trade, 1)).encode())
    cut = st.tuples(whole, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]])
    keys = st.sampled_from(
        ["type", "stream", "data", "channel", "result", "error", "code", "method", "e", "k", "s"]
    )
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    texts = st.sampled_from(["trade", "match", "error", "subscribe", "btcusdt@trade"])
    values = st.recursive(
        scalars | texts, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=5
    )
    objects = st.dictionaries(keys, values).map(lambda found: json.dumps(found).encode())
    events = st.one_of(whole, whole, whole, cut, objects, st.binary(), st.none())
    return venue, draw(st.lists(events, max_size=60)), draw(st.integers(1, 20))


@settings(max_examples=300, deadline=None)
@given(feeds())
def test_no_order_of_messages_lets_a_trade_be_learned_twice(feed):
    venue, events, most = feed
    source = source_of(f"{venue.scheme}:///{venue.names}?tls=0")
    request = json.loads(json.dumps(source._request()))
    path = {"binance": "/stream", "coinbase": "/", "kraken": "/v2"}[venue.scheme]
    answers = [json.dumps(each).encode() for each in venue.answer(path, request, [])[1]]
    source._socket = Feed(answers, events)
    position, learned, waits = source.open(None), {}, 0
    while waits < 2:
        try:
            batch = source.read(most, 0)
        except ConnectionError:
            source.close()
            source.open(position)
            continue
        waits += batch is None
        if batch is not None:
            assert 0 < len(batch) + len(batch.rejected) <= most
            position = json.loads(json.dumps(batch.position))
            for symbol, name in zip(batch.keys, batch.ids, strict=True):
                learned.setdefault(symbol, []).extend(numbers([name]))
    for each in learned.values():
        assert each == sorted(set(each))
    span = sum(each[-1] - each[0] + 1 for each in learned.values())
    assert source.missed == span - sum(map(len, learned.values()))


if __name__ == "__main__":
    address, state = sys.argv[1:]
    LiveRun(Counter(), source_of(address), None, state, snapshot_seconds=0.05, wait=0.02).run()
