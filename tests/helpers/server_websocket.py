"""Local venues of market data, which send the payloads that the venues document."""

import json
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

BEGIN = 1_672_515_782_136  # milliseconds since 1970


def iso(milliseconds):
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Binance:
    """Binance's combined streams, at /stream; it does not repeat trades."""

    scheme = "binance"
    symbols = ("BTCUSDT", "ETHUSDT")
    names = "btcusdt@trade,ethusdt@trade"

    def answer(self, path, request, past):
        assert path == "/stream"
        assert set(request) == {"method", "params", "id"}
        assert request["method"] == "SUBSCRIBE"
        if "refused@trade" in request["params"]:
            return False, [{"code": 2, "msg": "Invalid request: refused", "id": request["id"]}]
        return True, [{"result": None, "id": request["id"]}]

    def trade(self, symbol, number, price):
        data = {
            "e": "trade", "E": BEGIN + number, "s": symbol, "t": number, "p": f"{price}.00",
            "q": "100", "T": BEGIN + number, "m": True, "M": True,
        }  # fmt: skip
        return {"stream": f"{symbol.lower()}@trade", "data": data}

    def kline(self, symbol, begin, close, final):
        kline = {
            "t": begin, "T": begin + 59_999, "s": symbol, "i": "1m", "f": 100, "L": 200,
            "o": "0.0010", "c": f"{close}", "h": "0.0025", "l": "0.0015", "v": "1000", "n": 100,
            "x": final, "q": "1.0000", "V": "500", "Q": "0.500", "B": "123456",
        }  # fmt: skip
        data = {"e": "kline", "E": begin + 60_000, "s": symbol, "k": kline}
        return {"stream": f"{symbol.lower()}@kline_1m", "data": data}

    def ticker(self, symbol, time):
        data = {
            "e": "24hrTicker", "E": time, "s": symbol, "p": "0.0015", "P": "250.00", "w": "0.0018",
            "x": "0.0009", "c": "0.0025", "Q": "10", "b": "0.0024", "B": "10", "a": "0.0026",
            "A": "100", "o": "0.0010", "h": "0.0025", "l": "0.0010", "v": "10000", "q": "18",
            "O": 0, "C": 86400000, "F": 0, "L": 18150, "n": 18151,
        }  # fmt: skip
        return {"stream": f"{symbol.lower()}@ticker", "data": data}

    def book_ticker(self, symbol, number):
        data = {
            "u": number, "s": symbol, "b": "25.35190000", "B": "31.21000000", "a": "25.36520000",
            "A": "40.66000000",
        }  # fmt: skip
        return {"stream": f"{symbol.lower()}@bookTicker", "data": data}


class Coinbase:
    """The feed of Coinbase Exchange; it repeats the last trade to a new subscriber."""

    scheme = "coinbase"
    symbols = ("BTC-USD", "ETH-USD")
    names = "BTC-USD,ETH-USD"

    def answer(self, path, request, past):
        assert path == "/"
        assert request["type"] == "subscribe"
        (channel,) = request["channels"]
        products = request["product_ids"]
        if "REFUSED" in products:
            reason = "REFUSED is not a valid product"
            refusal = {"type": "error", "message": "Failed to subscribe", "reason": reason}
            return False, [refusal]
        subscriptions = [{"name": channel, "product_ids": products, "account_ids": None}]
        answers = [{"type": "subscriptions", "channels": subscriptions}]
        for symbol in products:
            answers += [
                self.trade(*trade) | {"type": "last_match"}
                for trade in [each for each in past if each[0] == symbol][-1:]
            ]
        return True, answers

    def trade(self, symbol, number, price):
        return {
            "type": "match", "trade_id": number, "sequence": 50 * number,
            "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
            "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
            "time": iso(BEGIN + number), "product_id": symbol, "size": "5.23512",
            "price": f"{price}.00", "side": "sell",
        }  # fmt: skip

    def ticker(self, symbol, number):
        return {
            "type": "ticker", "sequence": 37475248783, "product_id": symbol, "price": "1285.22",
            "open_24h": "1310.79", "volume_24h": "245532.79269678", "low_24h": "1280.52",
            "high_24h": "1313.8", "volume_30d": "9788783.60117027", "best_bid": "1285.04",
            "best_bid_size": "0.46688654", "best_ask": "1285.27", "best_ask_size": "1.56637040",
            "side": "buy", "time": "2022-10-19T23:28:22.061769Z", "trade_id": number,
            "last_size": "11.4396987",
        }  # fmt: skip

    def heartbeat(self, symbol):
        return {
            "type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": symbol,
            "time": "2014-11-07T08:19:28.464459Z",
        }  # fmt: skip


class Kraken:
    """Kraken's second version; it repeats the last 50 trades of a symbol to a new subscriber."""

    scheme = "kraken"
    symbols = ("BTC/USD", "ETH/USD")
    names = "BTC/USD,ETH/USD"

    def answer(self, path, request, past):
        assert path == "/v2"
        assert request["method"] == "subscribe"
        params = request["params"]
        assert params["snapshot"] is True
        status = {"system": "online", "api_version": "v2", "connection_id": 1, "version": "2.0.0"}
        answers = [{"channel": "status", "type": "update", "data": [status]}]
        times = {"time_in": iso(BEGIN), "time_out": iso(BEGIN)}
        for symbol in params["symbol"]:
            if symbol == "REFUSED":
                error = "Currency pair not supported REFUSED"
                refusal = {"error": error, "method": "subscribe", "success": False}
                return False, [*answers, refusal | times | {"symbol": symbol}]
            result = {"channel": params["channel"], "snapshot": True, "symbol": symbol}
            answers.append({"method": "subscribe", "result": result, "success": True} | times)
            found = [self.entry(*trade) for trade in past if trade[0] == symbol][-50:]
            answers.append({"channel": "trade", "type": "snapshot", "data": found})
        return True, answers if params["channel"] == "trade" else [answers[0], *answers[1::2]]

    def entry(self, symbol, number, price):
        return {
            "symbol": symbol, "side": "sell", "price": price, "qty": 0.00012, "ord_type": "market",
            "trade_id": number, "timestamp": iso(BEGIN + number),
        }  # fmt: skip

    def trade(self, symbol, number, price):
        entry = self.entry(symbol, number, price)
        return {"channel": "trade", "type": "update", "data": [entry]}

    def candle(self, symbol, minute, close):
        return {
            "symbol": symbol, "open": 0.5624, "high": 0.5628, "low": 0.5622, "close": close,
            "trades": 12, "volume": 30927.68066226, "vwap": 0.5626,
            "interval_begin": f"2023-10-04T16:{minute:02}:00.000000000Z", "interval": 1,
            "timestamp": f"2023-10-04T16:{minute + 1:02}:00.000000Z",
        }  # fmt: skip

    def candles(self, kind, *candles):
        when = "2023-10-04T16:26:30.524394914Z"
        return {"channel": "ohlc", "type": kind, "timestamp": when, "data": candles}

    def ticker(self, symbol, second):
        entry = {
            "symbol": symbol, "bid": 0.10025, "bid_qty": 740.0, "ask": 0.10036, "ask_qty": 1361.4,
            "last": 0.10035, "volume": 997038.98383185, "vwap": 0.10148, "low": 0.09979,
            "high": 0.10285, "change": -0.00017, "change_pct": -0.17,
            "timestamp": f"2023-09-25T09:04:{second:02}.123456Z",
        }  # fmt: skip
        return {"channel": "ticker", "type": "update", "data": [entry]}


class VenueServer:
    """Serves a venue. What is sent while nobody listens is lost unless the venue repeats it."""

    def __init__(self, venue, context=None):
        self.venue = venue
        self.listeners = []
        self.requests = 0
        self.past = []  # trades
        self.silent = False  # towards those that come
        self._lock = threading.Lock()
        self._server = serve(
            self._serve, "127.0.0.1", 0, ssl=context, compression=None, ping_interval=None
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _serve(self, connection):
        with suppress(ConnectionClosed):
            for text in connection:
                request = json.loads(text)
                with self._lock:
                    self.requests += 1
                    if self.silent:
                        continue
                    path = connection.request.path
                    accepted, answers = self.venue.answer(path, request, self.past)
                    for answer in answers:
                        connection.send(json.dumps(answer))
                    if accepted and connection not in self.listeners:
                        self.listeners.append(connection)
        with self._lock:
            if connection in self.listeners:
                self.listeners.remove(connection)

    def address(self, names=None, options=""):
        names = self.venue.names if names is None else names
        return f"{self.venue.scheme}://127.0.0.1:{self.port}/{names}?tls=0{options}"

    def send(self, message):
        """Send text, bytes, or an object as JSON."""
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        with self._lock:
            for listener in self.listeners:
                with suppress(ConnectionClosed):
                    listener.send(text)

    def trade(self, number, symbol=None):
        """A trade whose price is its number."""
        trade = (symbol or self.venue.symbols[0], number, number)
        with self._lock:
            self.past.append(trade)
        self.send(self.venue.trade(*trade))

    def stall(self):
        """Fall silent on all connections, in both directions."""
        with self._lock:
            for listener in self.listeners:
                listener.protocol.receive_data = lambda data: None
            self.listeners.clear()

    def cut(self, orderly=False):
        """End all connections; if orderly, with the message that venues send after a day."""
        with self._lock:
            for listener in self.listeners:
                with suppress(OSError):
                    if orderly:
                        listener.close(1001)
                    else:
                        listener.socket.shutdown(socket.SHUT_RDWR)
            self.listeners.clear()

    def close(self):
        self.cut()
        self._server.shutdown()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
