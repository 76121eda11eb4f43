"""A shop on one of Python's Kafka clients under OpenTelemetry, as its users set
it up: HOPTRACE_CLIENT is confluent-kafka or kafka-python. It sends each of
HOPTRACE_ORDERS (order,order) in a trace of its own to the topic HOPTRACE_SEND,
then reads HOPTRACE_READ (topic=records,topic=records), and prints what it sent
and saw."""

import json
import os
import sys
import time
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PATIENCE = 60  # seconds


def need(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"set {name}; interop_test.go says to what")
    return value


BROKER = need("HOPTRACE_KAFKA")
SERVICE = need("HOPTRACE_SERVICE")


def ids(span):
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {"traceId": trace.format_trace_id(context.trace_id), "spanId": trace.format_span_id(context.span_id)}


def seen(topic, value, headers):
    return {
        "topic": topic,
        "order": value.decode(),
        "headers": {key: val.decode() for key, val in headers or []},
        **ids(trace.get_current_span()),
    }


class ConfluentKafka:
    """confluent-kafka, whose instrumentation replaces its classes."""

    parts = ["confluent-kafka", "opentelemetry-instrumentation-confluent-kafka", "opentelemetry-sdk"]

    def __init__(self):
        from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor

        ConfluentKafkaInstrumentor().instrument()
        import confluent_kafka

        self.module = confluent_kafka
        self.producer = confluent_kafka.Producer({"bootstrap.servers": BROKER, "linger.ms": 0})
        self.error = None

    def delivered(self, error, _message):
        self.error = self.error or error

    def send(self, topic, order):
        self.producer.produce(topic, order.encode(), order.encode(), callback=self.delivered)

    def flush(self):
        left = self.producer.flush(PATIENCE)
        if self.error or left:
            sys.exit(f"{left} records were not sent: {self.error}")

    def read(self, topics):
        consumer = self.module.Consumer(
            {"bootstrap.servers": BROKER, "group.id": SERVICE, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}
        )
        consumer.subscribe(topics)
        try:
            while True:
                message = consumer.poll(1)
                if message is None:
                    yield None
                elif message.error():
                    sys.exit(f"cannot read: {message.error()}")
                else:
                    yield seen(message.topic(), message.value(), message.headers())
        finally:
            consumer.close()


class KafkaPython:
    """kafka-python, whose instrumentation wraps its methods."""

    parts = ["kafka-python", "opentelemetry-instrumentation-kafka-python", "opentelemetry-sdk"]

    def __init__(self):
        from opentelemetry.instrumentation.kafka import KafkaInstrumentor

        KafkaInstrumentor().instrument()
        import kafka

        self.module = kafka
        self.producer = kafka.KafkaProducer(bootstrap_servers=[BROKER])

    def send(self, topic, order):
        self.producer.send(topic, value=order.encode(), key=order.encode()).get(PATIENCE)

    def flush(self):
        self.producer.close()

    def read(self, topics):
        consumer = self.module.KafkaConsumer(
            *topics,
            bootstrap_servers=[BROKER],
            group_id=SERVICE,
            auto_offset_reset="earliest",
            consumer_timeout_ms=1000,
        )
        try:
            while True:
                for record in consumer:
                    yield seen(record.topic, record.value, record.headers)
                yield None
        finally:
            consumer.close()


def main():
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{need('HOPTRACE_OTLP')}/v1/traces")))
    trace.set_tracer_provider(provider)
    client = {"confluent-kafka": ConfluentKafka, "kafka-python": KafkaPython}[need("HOPTRACE_CLIENT")]()

    sent, read = [], []
    topic = os.environ.get("HOPTRACE_SEND")
    for order in os.environ.get("HOPTRACE_ORDERS", "").split(",") if topic else []:
        with trace.get_tracer("shop").start_as_current_span("checkout") as span:
            client.send(topic, order)
            sent.append({"order": order, **ids(span)})
    client.flush()

    expected = {topic: int(n) for topic, n in (part.split("=") for part in need("HOPTRACE_READ").split(","))}
    late = time.monotonic() + PATIENCE
    records = client.read(list(expected))
    while len(read) < sum(expected.values()):
        if time.monotonic() > late:
            sys.exit(f"read {len(read)} of {expected} in {PATIENCE} s: {read}")
        record = next(records)
        if record is not None:
            read.append(record)
    records.close()
    provider.shutdown()
    print(json.dumps({"sent": sent, "read": read, "parts": [f"{part} {version(part)}" for part in client.parts]}))


main()
