import type { Row } from './tree'

/** What of a tree is looked at. */
export interface View {
  /** Rows whose children are put away, by their id. */
  shut: ReadonlySet<string>
  /** Only what failed, and what leads to it. */
  errors: boolean
}

/** For each row the index behind its last descendant. Rows are in tree order, so one pass with a stack does. */
export function subtreeEnds(rows: readonly Row[]): Int32Array {
  const ends = new Int32Array(rows.length)
  const open: number[] = []
  rows.forEach((r, i) => {
    while (open.length > 0 && rows[open.at(-1)!]!.depth >= r.depth) ends[open.pop()!] = i
    open.push(i)
  })
  for (const i of open) ends[i] = rows.length
  return ends
}

/** Indices of the rows that are to be seen, in order. */
export function visible(rows: readonly Row[], ends: Int32Array, view: View, failed: (r: Row) => boolean): number[] {
  const out: number[] = []
  const kept = view.errors ? withAncestors(rows, failed) : undefined
  for (let i = 0; i < rows.length; ) {
    if (!kept || kept[i]) out.push(i)
    i = view.shut.has(rows[i]!.id) ? ends[i]! : i + 1
  }
  return out
}

function withAncestors(rows: readonly Row[], failed: (r: Row) => boolean): Uint8Array {
  const kept = new Uint8Array(rows.length)
  const path: number[] = []
  rows.forEach((r, i) => {
    path.length = r.depth
    path[r.depth] = i
    // From below: what is kept already has its ancestors.
    if (failed(r)) for (let d = r.depth; d >= 0 && !kept[path[d]!]; d--) kept[path[d]!] = 1
  })
  return kept
}

/** Indices of the rows that hold the words: in names, services, ids, attributes, topics, groups, offsets. */
export function hits(rows: readonly Row[], words: string): number[] {
  const wanted = words.trim().toLowerCase()
  if (!wanted) return []
  const has = (s: string) => s.toLowerCase().includes(wanted)
  const out: number[] = []
  rows.forEach((r, i) => {
    const spans = r.kind === 'span' ? [r.span] : r.spans
    const own = r.kind === 'hop' && (has(r.hop.topic) || has(r.hop.group) || has(String(r.hop.offset)) || (r.hop.record.keyHash !== null && has(r.hop.record.keyHash)))
    if (own || spans.some((s) => has(s.name) || has(s.service) || s.spanId === wanted || has(s.statusMessage) || s.attributes.some((a) => has(a.value) || has(a.key)))) out.push(i)
  })
  return out
}

/** The hit after the row, or before it; from the end it goes on at the other. */
export function nextHit(list: readonly number[], at: number, step: 1 | -1): number | undefined {
  if (list.length === 0) return undefined
  if (step > 0) return list.find((i) => i > at) ?? list[0]
  return list.findLast((i) => i < at) ?? list.at(-1)
}

/** Opens what is above a row: the shut set without its ancestors. */
export function opened(rows: readonly Row[], shut: ReadonlySet<string>, index: number): Set<string> {
  const out = new Set(shut)
  let depth = rows[index]?.depth ?? 0
  for (let i = index - 1; i >= 0 && depth > 0; i--) {
    if (rows[i]!.depth < depth) {
      depth = rows[i]!.depth
      out.delete(rows[i]!.id)
    }
  }
  return out
}
