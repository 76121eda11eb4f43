"""A shop that fails in many ways under the Sentry SDK for Python.

Each case reports one event, whose tag "case" names it: what stands before an @
is the issue, what stands behind it is how this event differs from the others.
"""

import asyncio
import concurrent.futures
import datetime
import decimal
import json
import logging
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import uuid

import sentry_sdk
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

import shop

sentry_sdk.init(
    dsn=os.environ["HOPTRACE_DSN"],
    release=os.environ["GOLDEN_RELEASE"],
    server_name=os.environ["GOLDEN_HOST"],
    environment="golden",
    integrations=[LoggingIntegration(event_level=logging.ERROR)],
)

VARIANT = os.environ.get("GOLDEN_VARIANT", "")
cases = {}


def fails(name, work, *args):
    """A case that raises; its error is reported as a handler does it."""

    def run():
        try:
            work(*args)
        except BaseException:
            sentry_sdk.capture_exception()
            return
        raise SystemExit(f"case {name} did not fail")

    cases[name] = run


def reports(name, work):
    """A case that reports by itself."""
    cases[name] = work


fails("declined", shop.charge, 17)
fails("declined@other-order", shop.charge, 4711)
fails("declined-two-lines", shop.charge_two_lines, 17)
fails("declined-two-lines@other-line", shop.charge_two_lines, 4711)
fails("raise-from", shop.refund, 17)
fails("raise-from@other-order", shop.refund, 18)
fails("raise-from-none", lambda: shop.refund_quietly(17))
fails("implicit-context", lambda: shop.refund_badly(17))
fails("stock-empty", shop.reserve, "sku-17")
fails("key-error", shop.price, "sku-9")
fails("key-error@other-key", shop.price, "sku-10")
fails("zero-division", lambda: shop.share(10, 0))
fails("index-error", lambda: shop.shelf(7))
fails("value-error", shop.parse, "4x")
fails("value-error@other-text", shop.parse, "seventeen")
fails("recursion", shop.recurse, 20)
fails("recursion@deeper", shop.recurse, 23)


def overflow():
    sys.setrecursionlimit(100)
    try:
        shop.overflow()
    finally:
        sys.setrecursionlimit(1000)


fails("recursion-limit", overflow)
fails("generator", lambda: list(shop.lines(17)))
fails("decorated", lambda: shop.decorated(17))
fails("method-none", lambda: shop.Cart().total())
fails("property", lambda: shop.Cart().first)
fails("class-method", lambda: shop.Cart.load("c-17"))
fails("static-method-assert", lambda: shop.Cart.check(0))


def leave():
    with shop.Cart():
        pass


fails("context-manager", leave)
fails("comprehension", lambda: [shop.share(1, n) for n in (1, 0)])
fails("attribute-error", lambda: "text".append("x"))
fails("name-error", lambda: missing_name)  # noqa: F821
fails("type-error-arguments", shop.charge)
fails("type-error-add", lambda: 1 + "1")
fails("unicode-error", lambda: b"\xff\xfe".decode())
fails("json-error", json.loads, "{ broken")
fails("json-error@other-text", json.loads, "[1, 2,")
fails("syntax-error", lambda: compile("def", "<rules>", "exec"))
fails("import-error", lambda: __import__("no_such_module"))
fails("file-missing", open, "/srv/prices/2026-11-23.csv")
fails("file-missing@other-day", open, "/srv/prices/2026-11-24.csv")
fails("connection-refused", lambda: socket.create_connection(("127.0.0.1", 1), timeout=1))
fails("sqlite", lambda: sqlite3.connect(":memory:").execute("SELECT * FROM orders"))
fails("subprocess", lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True))
fails("struct-error", lambda: struct.unpack(">I", b"ab"))
fails("decimal-error", lambda: decimal.Decimal("ten"))
fails("date-error", lambda: datetime.date.fromisoformat("2026-13-01"))
fails("stop-iteration", lambda: next(iter([])))
fails("system-exit", lambda: sys.exit(3))


def group(*errors):
    def work():
        raise ExceptionGroup("several orders failed", list(errors))

    return work


fails("group-same", group(ValueError("order 1"), ValueError("order 2")))
fails("group-same@three", group(ValueError("order 1"), ValueError("order 2"), ValueError("order 3")))
fails("group-mixed", group(ValueError("order 1"), KeyError("sku")))
fails("group-nested", group(ExceptionGroup("inner", [shop.ShopError("a"), OSError("b")]), KeyError("sku")))
fails("task-group", lambda: asyncio.run(shop.fetch_all(["sku-1", "sku-2"])))
fails("asyncio", lambda: asyncio.run(shop.fetch("sku-17")))
fails("asyncio-timeout", lambda: asyncio.run(shop.slow()))


def noted():
    err = shop.ShopError("an error with notes")
    err.add_note("order 17")
    raise err


fails("notes", noted)


def pooled():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(shop.charge, 17).result()


fails("thread-pool", pooled)


def in_thread(work, name):
    def run():
        sentry_sdk.set_tag("case", name + VARIANT)
        work()

    def case():
        previous = threading.excepthook
        thread = threading.Thread(target=run, name="worker-1")
        thread.start()
        thread.join()
        threading.excepthook = previous

    return case


reports("thread", in_thread(lambda: shop.charge(17), "thread"))


def in_task():
    async def main():
        sentry_sdk.init(
            dsn=os.environ["HOPTRACE_DSN"],
            release=os.environ["GOLDEN_RELEASE"],
            server_name=os.environ["GOLDEN_HOST"],
            environment="golden",
            integrations=[AsyncioIntegration(), LoggingIntegration(event_level=logging.CRITICAL)],
        )
        task = asyncio.create_task(shop.fetch("sku-17"))
        await asyncio.wait([task])

    asyncio.run(main())


reports("asyncio-task", in_task)


def message(text):
    def work():
        sentry_sdk.capture_message(text)

    return work


reports("message", message("stock is low"))
reports("message-number", message("order 17 is late"))
reports("message-number@other", message("order 4711000 is late"))
reports("message-uuid", message(f"lost cart {uuid.UUID(int=17)}"))
reports("message-uuid@other", message(f"lost cart {uuid.UUID(int=2**100 + 5)}"))
reports("message-other-text", message("the door is open"))
reports("message-level", lambda: sentry_sdk.capture_message("slow checkout", level="warning"))

log = logging.getLogger("shop.orders")
reports("log-params", lambda: log.error("order %s of %s is late", 17, "ada"))
reports("log-params@other", lambda: log.error("order %s of %s is late", 18, "grace"))
reports("log-params-number", lambda: log.error("%d of %d shelves are empty", 3, 10))
reports("log-formatted", lambda: log.error(f"cart {17} was lost"))
reports("log-formatted@other", lambda: log.error(f"cart {18} was lost"))
reports("log-other-logger", lambda: logging.getLogger("shop.stock").error("order %s of %s is gone", 17, "ada"))


def logged_exception(order):
    def work():
        try:
            shop.charge(order)
        except shop.Declined:
            log.exception("charging %s failed", order)

    return work


reports("log-exception", logged_exception(17))
reports("log-exception@other", logged_exception(18))


def scoped(fingerprint, work):
    def run():
        sentry_sdk.get_current_scope().fingerprint = fingerprint
        work()

    return run


fails("fingerprint-custom", scoped(["database-down"], lambda: shop.charge(1)))
fails("fingerprint-custom@other-error", scoped(["database-down"], lambda: shop.reserve("a")))
fails("fingerprint-other", scoped(["cache-down"], lambda: shop.charge(1)))
for region in ("eu", "us"):
    fails(f"fingerprint-hybrid-{region}", scoped(["{{ default }}", region], lambda: shop.charge(1)))


def full():
    sentry_sdk.set_user({"id": "u-17", "email": "ada@example.com"})
    sentry_sdk.set_tags({"shop": "eu", "tier": "gold"})
    sentry_sdk.set_context("cart", {"lines": 3, "total": 59.9})
    sentry_sdk.add_breadcrumb(category="query", message="SELECT 1", level="info")
    shop.reserve("full")


fails("full-scope", full)


def consumer(offset):
    def work():
        sentry_sdk.set_context("kafka", {"topic": "orders", "partition": 3, "offset": offset, "consumer_group": "shipping"})
        raise shop.ShopError(f"cannot read version of record {offset}")

    return work


fails("consumer", consumer(4711))
fails("consumer@other-record", consumer(4712))


def uncaught():
    """What nobody catches ends the process, so it has one of its own."""
    sentry_sdk.set_tag("case", "uncaught" + VARIANT)
    shop.refund(17)


if len(sys.argv) > 1:
    uncaught()
for name, work in cases.items():
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("case", name + VARIANT)
        with sentry_sdk.new_scope():
            work()
    sentry_sdk.flush(timeout=10)
