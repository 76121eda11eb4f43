/** A part of an event as grouping looked at it; leaves have a value. */
export interface Part {
  id: string
  counts: boolean
  /** Why it does not count. */
  hint: string
  value: string
  parts: Part[]
}

/** One way to take the event's calls; the one that decides gives the hash. */
export interface Variant {
  name: string
  decides: boolean
  hint: string
  hash: string
  parts: Part[]
}

export interface Grouping {
  strategy: string
  /** The fingerprint rule that decided. */
  rule: string
  fingerprint: string[]
  variants: Variant[]
}

type Data = Record<string, unknown>

const list = (v: unknown): unknown[] => (Array.isArray(v) ? v : [])
const word = (v: unknown): string => (typeof v === 'string' ? v : '')
const isData = (v: unknown): v is Data => typeof v === 'object' && v !== null && !Array.isArray(v)

const DEEPEST = 20

function partOf(node: unknown, depth: number): Part | undefined {
  if (typeof node === 'string') {
    const at = node.indexOf(' ')
    return { id: at > 0 ? node.slice(0, at) : '', counts: true, hint: '', value: node.slice(at + 1), parts: [] }
  }
  if (!isData(node) || depth > DEEPEST) return undefined
  return { id: word(node['id']), counts: node['contributes'] !== false, hint: word(node['hint']), value: word(node['value']), parts: partsOf(list(node['values']), depth + 1) }
}

function partsOf(nodes: unknown[], depth: number): Part[] {
  return nodes.map((n) => partOf(n, depth)).filter((p) => p !== undefined)
}

/** Reads a tree as it was kept with its hash: a whole one, or lines of what counts. Undefined when there is none. */
export function groupingOf(tree: unknown): Grouping | undefined {
  if (Array.isArray(tree)) {
    const parts = partsOf(tree, 0)
    return parts.length > 0 ? { strategy: '', rule: '', fingerprint: [], variants: [{ name: '', decides: true, hint: '', hash: '', parts }] } : undefined
  }
  if (!isData(tree)) return undefined
  const variants = list(tree['variants'])
    .filter(isData)
    .map((v) => {
      const root = partOf(v['component'], 0)
      return { name: word(v['name']), decides: v['contributes'] !== false, hint: word(v['hint']), hash: word(v['hash']), parts: root ? (root.parts.length > 0 ? root.parts : [root]) : [] }
    })
  const fingerprint = list(tree['fingerprint']).map(word).filter(Boolean)
  if (variants.length === 0 && fingerprint.length === 0) return undefined
  return { strategy: word(tree['strategy']), rule: word(tree['rule']), fingerprint, variants }
}

/** How many leaves count and how many do not. */
export function tally(parts: readonly Part[]): { counts: number; not: number } {
  const out = { counts: 0, not: 0 }
  const walk = (p: Part, above: boolean) => {
    const counts = above && p.counts
    if (p.parts.length === 0) out[counts ? 'counts' : 'not']++
    p.parts.forEach((x) => walk(x, counts))
  }
  parts.forEach((p) => walk(p, true))
  return out
}

export interface Summary {
  types: string[]
  /** Functions of the calls that count, the newest first. */
  calls: string[]
  ownCalls: boolean
  /** Other parts that count, as messages. */
  others: string[]
  /** What does not count although one might think so, with the reason. */
  ignored: string[]
}

/** The tree in a sentence's worth: what counted in the variant that decided. */
export function summaryOf(g: Grouping): Summary {
  const v = g.variants.find((x) => x.decides) ?? g.variants[0]
  const out: Summary = { types: [], calls: [], ownCalls: v?.name === 'app', others: [], ignored: [] }
  const leaf = (p: Part, id: string) => p.parts.find((x) => x.id === id && x.counts)?.value
  const walk = (p: Part) => {
    if (p.id === 'frame') {
      const name = leaf(p, 'function') ?? leaf(p, 'context-line') ?? leaf(p, 'module') ?? leaf(p, 'filename') ?? p.value
      if (p.counts && name) out.calls.unshift(name)
      return
    }
    if (p.parts.length > 0) return p.counts && p.parts.forEach(walk)
    if (!p.counts) {
      if ((p.id === 'value' || p.id === 'message') && p.hint && !out.ignored.includes('message: ' + p.hint)) out.ignored.push('message: ' + p.hint)
    } else if (p.id === 'type') out.types.unshift(p.value)
    else out.others.push(p.value)
  }
  v?.parts.forEach(walk)
  return out
}
