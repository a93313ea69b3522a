"""Message brokers: Kafka, MQTT, NATS JetStream and Redis Streams.

For each broker there are two modules: `NAME` has the source and the sink, `NAME_connection` the
connection that both use, and says which errors of the broker pass and which end a run.
"""
