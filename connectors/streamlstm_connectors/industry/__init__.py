"""Industry: OPC UA."""
