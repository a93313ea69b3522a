"""Message brokers: Kafka, MQTT, NATS and Redis."""
