export interface Order { id: string; card?: string }

/** chargeCard throws for an order without a card. */
export function chargeCard(order: Order): number {
  if (order.card === undefined) {
    throw new Error(`order ${order.id} has no card`);
  }
  return order.card.length;
}

export class Checkout {
  private done = 0;

  constructor(private readonly limit: number) {
    if (limit < 0) throw new RangeError("a limit below zero");
  }

  submit(order: Order): number {
    if (this.done >= this.limit) return 0;
    this.done += chargeCard(order);
    return this.done;
  }

  async submitLater(order: Order): Promise<number> {
    await null;
    return this.submit(order);
  }
}
