"""Market data: Binance, Coinbase and Kraken directly, and other venues through ccxt.

`venue` has what the three sources share, on a `websocket`; `fields` names the fields of all venues
alike.
"""
