import { useRef, useState } from 'react'

export interface StillRow<T> {
  key: string
  row: T
  /** The server tells it no longer; row is what it told last. */
  gone: boolean
}

/** Rows in the order in which they were first shown, with their newest values; what is gone keeps its last. */
export function inOrder<T>(order: readonly string[], now: ReadonlyMap<string, T>, before: ReadonlyMap<string, T>): StillRow<T>[] {
  const out: StillRow<T>[] = []
  for (const key of order) {
    const row = now.get(key) ?? before.get(key)
    if (row) out.push({ key, row, gone: !now.has(key) })
  }
  return out
}

/** Whether the server would now show other rows, or in another order. */
export function moved(order: readonly string[], now: readonly string[]): boolean {
  return order.length !== now.length || order.some((k, i) => k !== now[i])
}

/** Rows that stand still while one reads: the newest values in the order of the first answer to the question; what came or moved since waits until somebody wants it. */
export function useStill<T>(rows: readonly T[] | undefined, keyOf: (row: T) => string, question: string): [StillRow<T>[], boolean, () => void] {
  const [kept, setKept] = useState<{ question: string; order: string[] }>({ question: '', order: [] })
  const last = useRef(new Map<string, T>())
  const now = new Map(rows?.map((r) => [keyOf(r), r]))
  const fresh = [...now.keys()]
  let order = kept.order
  if (rows && kept.question !== question) {
    order = fresh
    setKept({ question, order })
  }
  const still = inOrder(order, now, rows ? last.current : now)
  for (const [k, r] of now) last.current.set(k, r)
  for (const k of last.current.keys()) if (!now.has(k) && !order.includes(k)) last.current.delete(k)
  return [still, rows !== undefined && moved(order, fresh), () => setKept({ question, order: fresh })]
}
