"""The parts of a shop that fail; main.py calls them."""

import asyncio
import functools


class ShopError(Exception):
    pass


class Declined(ShopError):
    def __init__(self, order):
        super().__init__(f"card of order {order} declined")
        self.order = order


class StockEmpty(ShopError):
    def __str__(self):
        return f"nothing left of {self.args[0]}"


def authorise(order):
    raise Declined(order)


def charge(order):
    authorise(order)


def charge_two_lines(order):
    if order < 100:
        raise Declined(order)
    raise Declined(order)


def refund(order):
    try:
        authorise(order)
    except Declined as err:
        raise RuntimeError(f"cannot refund order {order}") from err


def refund_quietly(order):
    try:
        authorise(order)
    except Declined:
        raise RuntimeError(f"cannot refund order {order}") from None


def refund_badly(order):
    try:
        authorise(order)
    except Declined as err:
        return err.card  # fails while it handles another error


def reserve(sku):
    raise StockEmpty(sku)


def price(sku):
    return {"sku-1": 10}[sku]


def share(total, parts):
    return total / parts


def shelf(n):
    return ["a", "b"][n]


def parse(text):
    return int(text)


def recurse(n):
    if n == 0:
        raise ShopError("the tree has no leaf")
    return recurse(n - 1)


def overflow(n=0):
    return overflow(n + 1)


def lines(order):
    yield 1
    raise ShopError(f"order {order} has no second line")


def retried(work):
    @functools.wraps(work)
    def wrapper(*args):
        return work(*args)

    return wrapper


@retried
def decorated(order):
    raise ShopError(f"order {order} was retried")


class Cart:
    def __init__(self):
        self.lines = None

    def total(self):
        return sum(line.price for line in self.lines)

    @property
    def first(self):
        return self.lines[0]

    @classmethod
    def load(cls, key):
        raise LookupError(f"no cart {key}")

    @staticmethod
    def check(n):
        assert n > 0, "a cart needs lines"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        raise ShopError("the cart does not close")


async def fetch(sku):
    await asyncio.sleep(0)
    raise ConnectionError(f"stock service answered 503 for {sku}")


async def fetch_all(skus):
    async with asyncio.TaskGroup() as group:
        for sku in skus:
            group.create_task(fetch(sku))


async def slow():
    async with asyncio.timeout(0.001):
        await asyncio.sleep(5)
