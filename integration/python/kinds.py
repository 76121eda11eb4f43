"""Sends each kind of item that the Sentry SDK for Python knows, one in an
envelope where the SDK allows it, and prints the ids.

The DSN comes in HOPTRACE_DSN, "gzip" in HOPTRACE_COMPRESSION asks for that in
place of Brotli.
"""

import json
import os
import time

import sentry_sdk
from sentry_sdk.crons import MonitorStatus, capture_checkin
from sentry_sdk.envelope import Envelope, Item, PayloadRef

options = {}
if os.environ.get("HOPTRACE_COMPRESSION"):
    options["_experiments"] = {"transport_compression_algo": os.environ["HOPTRACE_COMPRESSION"]}
sentry_sdk.init(
    dsn=os.environ["HOPTRACE_DSN"],
    release="shop@2.0.0",
    environment="integration",
    server_name="web-1",
    traces_sample_rate=1.0,
    enable_logs=True,
    **options,
)
told = {"sdk": f"sentry.python/{sentry_sdk.VERSION}", "events": {}}


class Declined(Exception):
    pass


def charge(order):
    raise Declined(f"card of order {order} declined")


def event(what, work):
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("case", what)
        try:
            told["events"][what] = work(scope)
        except Exception:
            told["events"][what] = sentry_sdk.capture_exception()
    sentry_sdk.flush(timeout=20)


def chained(_):
    try:
        charge(18)
    except Declined as err:
        try:
            raise ConnectionError("bank said no") from err
        except ConnectionError as bank:
            raise RuntimeError("cannot pay") from bank


def attached(scope):
    scope.add_attachment(bytes=b'{"lines":3}', filename="cart.json", content_type="application/json")
    raise ValueError("cart is broken")


with sentry_sdk.start_transaction(name="pay", op="queue.process") as transaction:
    told["trace"], told["span"] = transaction.trace_id, transaction.span_id
    event("error", lambda _: charge(17))
    with sentry_sdk.start_span(name="SELECT 1", op="db.query"):
        time.sleep(0.002)
    sentry_sdk.logger.warning("order {order} is late", order=17)
    sentry_sdk.flush(timeout=20)
sentry_sdk.flush(timeout=20)
sentry_sdk.metrics.count("orders", 3, attributes={"shop": "eu"})
sentry_sdk.flush(timeout=20)
event("chained", chained)
event("message", lambda _: sentry_sdk.capture_message("stock is low"))
event("attachment", attached)
schedule = {
    "schedule": {"type": "crontab", "value": "*/5 * * * *"},
    "checkin_margin": 2,
    "max_runtime": 10,
    "timezone": "UTC",
}
told["checkIn"] = capture_checkin(monitor_slug="close-day-python", status=MonitorStatus.IN_PROGRESS, monitor_config=schedule)
sentry_sdk.flush(timeout=20)
capture_checkin(
    monitor_slug="close-day-python", check_in_id=told["checkIn"], status=MonitorStatus.OK, duration=1, monitor_config=schedule
)
sentry_sdk.flush(timeout=20)
# The SDK has no call for it, but sends what a program puts into an envelope.
report = {"event_id": told["events"]["error"], "name": "Ada", "email": "ada@example.com", "comments": "the button does nothing"}
envelope = Envelope(headers={"event_id": report["event_id"]})
envelope.add_item(Item(payload=PayloadRef(json=report), type="user_report"))
sentry_sdk.get_client().transport.capture_envelope(envelope)
sentry_sdk.flush(timeout=20)

isolation = sentry_sdk.get_isolation_scope()
isolation.start_session(session_mode="application")
isolation.end_session()
sentry_sdk.flush(timeout=20)
isolation.start_session(session_mode="request")
isolation.end_session()
sentry_sdk.get_client().session_flusher.flush()
sentry_sdk.flush(timeout=20)

limited = os.environ.get("HOPTRACE_LIMITED")
if limited:
    # The first is refused, the second the SDK drops and reports with what it sends next.
    for i in range(2):
        event(limited, lambda _: 1 / 0)
    capture_checkin(monitor_slug="close-day-python", status=MonitorStatus.OK, monitor_config=schedule)
    sentry_sdk.flush(timeout=20)
sentry_sdk.get_client().close(timeout=5)
print(json.dumps(told))
