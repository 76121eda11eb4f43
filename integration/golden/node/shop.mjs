// The parts of a shop that fail; main.mjs calls them.
export class StockEmpty extends Error {
  constructor(sku) {
    super(`nothing left of ${sku}`);
    this.name = "StockEmpty";
    this.sku = sku;
  }
}

export class Declined extends Error {
  name = "Declined";
}

export class Unnamed extends Error {}

export function reserve(sku) {
  throw new StockEmpty(sku);
}

export function reserveTwice(sku) {
  if (sku.endsWith("1")) {
    throw new StockEmpty(sku);
  }
  throw new StockEmpty(sku);
}

export function charge(order) {
  authorise(order);
}

function authorise(order) {
  throw new Declined(`card of order ${order} declined`);
}

export function refund(order) {
  try {
    authorise(order);
  } catch (err) {
    throw new Error(`cannot refund order ${order}`, { cause: err });
  }
}

export function checkout(order) {
  try {
    refund(order);
  } catch (err) {
    throw new Error("checkout failed", { cause: err });
  }
}

export async function fetchStock(sku) {
  await Promise.resolve();
  throw new Error(`stock service answered 503 for ${sku}`);
}

export async function fetchAll(skus) {
  await Promise.all(skus.map(fetchStock));
}

export async function fetchAny(skus) {
  await Promise.any(skus.map(fetchStock));
}

export const later = (work) =>
  new Promise((_, reject) => {
    setTimeout(() => {
      try {
        work();
      } catch (err) {
        reject(err);
      }
    }, 1);
  });

export class Cart {
  #lines = [];

  get total() {
    return this.#lines.reduce((sum, line) => sum + line.price.cents, 0);
  }

  static empty() {
    const cart = new Cart();
    cart.#lines.push({});
    return cart;
  }

  add = (line) => {
    if (!line.sku) {
      throw new TypeError("a line needs a sku");
    }
    this.#lines.push(line);
  };

  async save() {
    await null;
    throw new RangeError(`cart has ${this.#lines.length} lines`);
  }
}

export function* lines(order) {
  yield 1;
  throw new Error(`order ${order} has no second line`);
}

export function recurse(n) {
  if (n === 0) {
    throw new Error("the tree has no leaf");
  }
  return recurse(n - 1);
}

export function overflow() {
  return overflow() + 1;
}

export const handlers = {
  "order.created": (order) => order.customer.name,
  async "order.paid"(order) {
    await null;
    return order.payment.id.toUpperCase();
  },
};

/** Calls handle for records as kafkajs does for eachMessage. */
export async function consume(records, handle) {
  for (const record of records) {
    await handle(record);
  }
}
