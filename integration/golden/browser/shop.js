// The parts of a shop that fail; main.js calls them.
export class StockEmpty extends Error {
  constructor(sku) {
    super(`nothing left of ${sku}`);
    this.name = "StockEmpty";
  }
}

export function reserve(sku) {
  throw new StockEmpty(sku);
}

export function charge(order) {
  authorise(order);
}

function authorise(order) {
  throw new Error(`card of order ${order} declined`);
}

export function checkout(order) {
  try {
    charge(order);
  } catch (err) {
    throw new Error(`checkout of order ${order} failed`, { cause: err });
  }
}

export function pay(order) {
  console.warn("the cart has %d lines", 3);
  console.info("paying");
  charge(order);
}

export async function load(sku) {
  await Promise.resolve();
  throw new Error(`stock service answered 503 for ${sku}`);
}

export class Cart {
  lines = null;

  total() {
    return this.lines.reduce((sum, line) => sum + line.cents, 0);
  }

  onClick = () => {
    throw new TypeError("the button knows no cart");
  };
}

export function recurse(n) {
  if (n === 0) {
    throw new Error("the tree has no leaf");
  }
  return recurse(n - 1);
}
