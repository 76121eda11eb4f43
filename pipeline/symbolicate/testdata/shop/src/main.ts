import { Checkout, type Order } from "./shop";

const submitAll = (orders: Order[]): number[] => {
  const checkout = new Checkout(10);
  return orders.map(function submitOne(order) {
    return checkout.submit(order);
  });
};

function tell(what: string, error: unknown): void {
  const program = globalThis as { _sentryDebugIds?: Record<string, string> };
  const ids = Object.entries(program._sentryDebugIds ?? {}).map(([stack, id]) => ({ stack, id }));
  console.log(JSON.stringify({ what, stack: (error as Error).stack, ids }));
}

async function main(): Promise<void> {
  try {
    submitAll([{ id: "☃-1" }]);
  } catch (error) {
    tell("map", error);
  }
  try {
    new Checkout(-1);
  } catch (error) {
    tell("constructor", error);
  }
  try {
    await new Checkout(10).submitLater({ id: "o-2" });
  } catch (error) {
    tell("async", error);
  }
}

void main();
