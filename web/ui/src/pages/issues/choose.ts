/** What is chosen in a list, and the row that a range begins at. */
export interface Chosen {
  ids: ReadonlySet<string>
  anchor: string | undefined
}

/** The ids that a URL says are chosen. */
export function readChosen(value: string | null): ReadonlySet<string> {
  return new Set((value ?? '').split('.').filter((id) => /^[1-9]\d{0,15}$/.test(id)))
}

/** The ids for a URL; empty for none. */
export function writeChosen(ids: ReadonlySet<string>): string {
  return [...ids].join('.')
}

/**
 * Chooses a row, or unchooses it. With shift, all rows between the one that was
 * chosen before and this one become what that one is.
 */
export function choose(list: readonly string[], was: Chosen, id: string, shift: boolean): Chosen {
  const ids = new Set(was.ids)
  const from = was.anchor === undefined ? -1 : list.indexOf(was.anchor)
  const to = list.indexOf(id)
  if (!shift || from < 0 || to < 0) {
    if (!ids.delete(id)) ids.add(id)
    return { ids, anchor: id }
  }
  const on = ids.has(list[from]!)
  for (const x of list.slice(Math.min(from, to), Math.max(from, to) + 1)) {
    if (on) ids.add(x)
    else ids.delete(x)
  }
  return { ids, anchor: id }
}

/** As many issues as one action takes (PUT /api/v1/issues). */
export const MOST_CHOSEN = 1000
const PAGE = 500

/** Reads all that match, page by page, and at most MOST_CHOSEN; more tells that there are others. */
export async function allThatMatch<T>(page: (before: string | undefined, limit: number) => Promise<{ issues: readonly T[]; next?: string | null }>): Promise<{ issues: T[]; more: boolean }> {
  const issues: T[] = []
  let before: string | undefined
  for (;;) {
    const got = await page(before, Math.min(PAGE, MOST_CHOSEN - issues.length))
    issues.push(...got.issues)
    before = got.next || undefined
    if (!before || issues.length >= MOST_CHOSEN || got.issues.length === 0) return { issues, more: !!before }
  }
}
