"""Market data: Binance, Coinbase and Kraken, and other venues through ccxt."""
