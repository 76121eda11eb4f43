import type { Finding, Ledger, LedgerLine, Piece } from '../../api/types'
import { bytes, count } from '../../lib/format'
import { firstOf, number, text } from '../../lib/say'

/** Where an item can end, in the order of the line. Received is their sum. */
export const ENDS = [
  { key: 'stored', label: 'Stored', says: 'in the tables, counted from them' },
  { key: 'filtered', label: 'Filtered', says: "taken out by the project's filters and sampling rules" },
  { key: 'limited', label: 'Limited', says: 'beyond a quota or a limit against abuse' },
  { key: 'invalid', label: 'Invalid', says: 'not what it said it was' },
  { key: 'clientDiscard', label: 'Client discards', says: 'dropped by the SDK itself, as it told' },
  { key: 'parked', label: 'Parked', says: 'in a dead-letter topic, to be replayed' },
  { key: 'inFlight', label: 'In flight', says: 'accepted, without an end yet' },
] as const

export type End = (typeof ENDS)[number]['key']

const OF_OUTCOME: Record<string, End> = {
  filtered: 'filtered',
  rate_limited: 'limited',
  abuse: 'limited',
  cardinality_limited: 'limited',
  invalid: 'invalid',
  client_discard: 'clientDiscard',
  parked: 'parked',
}

/** The column that a reason is a part of. */
export function endOf(outcome: string): End | undefined {
  return OF_OUTCOME[outcome]
}

const IN_BYTES = new Set(['attachment', 'log_byte', 'trace_metric_byte'])

/** Whether a category counts bytes; they are never added to items. */
export function inBytes(category: string): boolean {
  return IN_BYTES.has(category)
}

/** n of a category in its unit. */
export function amount(category: string, n: number): string {
  if (!inBytes(category)) return count(n)
  return n < 0 ? '\u2212' + bytes(-n) : bytes(n)
}

const NAMES: Record<string, string> = {
  error: 'errors',
  transaction: 'transactions',
  security: 'security reports',
  attachment: 'attachments, bytes',
  attachment_item: 'attachments',
  session: 'sessions',
  profile: 'profiles',
  profile_chunk: 'profile chunks',
  replay: 'replays',
  monitor: 'check-ins',
  feedback: 'feedback',
  span: 'spans',
  log_item: 'logs',
  log_byte: 'logs, bytes',
  trace_metric: 'metrics',
  trace_metric_byte: 'metrics, bytes',
  metric_bucket: 'metric buckets',
  internal: 'internal',
  default: 'other events',
}

/** What people call a category. */
export function nameOf(category: string): string {
  return NAMES[category] ?? category.replaceAll('_', ' ')
}

/** Where the stored items of a category can be seen. */
export function pageOf(category: string): string | undefined {
  return { error: '/issues?query=+', span: '/traces', transaction: '/traces', log_item: '/logs' }[category]
}

/** The sum of all ends: equal to received, or the ledger does not add up. */
export function sumOf(l: LedgerLine): number {
  return ENDS.reduce((n, e) => n + l[e.key], 0)
}

interface Facts {
  ledger: Ledger
  items: LedgerLine[]
  received: number
  stored: number
  inFlight: number
  unread: number
  moving: LedgerLine | undefined
  odd: LedgerLine | undefined
  worst: { line: LedgerLine; outcome: string; reason: string; quantity: number } | undefined
}

function factsOf(ledger: Ledger): Facts {
  const items = ledger.lines.filter((l) => !inBytes(l.category))
  const sum = (f: (l: LedgerLine) => number) => items.reduce((n, l) => n + f(l), 0)
  const reasons = items.flatMap((line) => line.reasons.map((r) => ({ line, ...r })))
  return {
    ledger,
    items,
    received: sum((l) => l.received),
    stored: sum((l) => l.stored),
    inFlight: sum((l) => l.inFlight),
    unread: (ledger.backlog ?? []).reduce((n, b) => n + b.records, 0),
    moving: [...items].sort((a, b) => b.inFlight - a.inFlight)[0],
    odd: ledger.lines.find((l) => sumOf(l) !== l.received),
    worst: reasons.sort((a, b) => b.quantity - a.quantity)[0],
  }
}

const open = (l: LedgerLine) => '?open=' + l.category

function rest(f: Facts): Piece[] {
  const w = f.worst
  if (!w) return [text('Nothing was filtered, limited, refused or dropped.')]
  return [text('Of what is not, most: '), number(w.quantity, open(w.line)), text(` ${nameOf(w.line.category)}, `), text(words(w.outcome) + (w.reason ? ` (${w.reason})` : ''), open(w.line)), text('.')]
}

/** An outcome as a person says it. */
export function words(outcome: string): string {
  return { client_discard: 'discarded by the client', rate_limited: 'over a quota', abuse: 'over a limit against abuse', cardinality_limited: 'too many kinds' }[outcome] ?? outcome
}

/** The sentence that the page begins with. */
export function ledgerFinding(ledger: Ledger): Finding {
  return firstOf<Facts>(
    [
      {
        rule: 'empty',
        tone: 'empty',
        when: (f) => f.ledger.lines.length === 0,
        title: () => [text('Nothing was received in this time')],
        text: () => [],
      },
      {
        rule: 'odd',
        tone: 'bad',
        when: (f) => f.odd !== undefined,
        title: (f) => [text(`The ledger of ${nameOf(f.odd!.category)} does not add up`)],
        text: (f) => [text('Received '), number(f.odd!.received), text(', of which '), number(sumOf(f.odd!), open(f.odd!)), text(' have an end.')],
      },
      {
        rule: 'unexplained',
        tone: 'bad',
        when: (f) => !f.ledger.balanced,
        title: (f) => [number(f.inFlight, open(f.moving!)), text(` of ${count(f.received)} items have no end`)],
        text: (f) =>
          f.ledger.backlog === null
            ? [text('This process cannot ask the broker whether they lie in its topics.')]
            : [text('The stages have read all there is: the items are in a collector’s spool or in a batch that is being stored, or lost. Look again in some seconds.')],
      },
      {
        rule: 'moving',
        tone: 'ok',
        when: (f) => f.inFlight > 0,
        title: (f) => [number(f.inFlight, open(f.moving!)), text(` of ${count(f.received)} items are on their way; all others have their end`)],
        text: (f) => [text('The stages have '), number(f.unread, '#backlog'), text(' records to read. '), ...rest(f)],
      },
      {
        rule: 'all',
        tone: 'ok',
        when: (f) => f.stored === f.received,
        title: (f) => [text('All '), number(f.received), text(' items that were received are stored')],
        text: () => [text('Nothing was filtered, limited, refused or dropped.')],
      },
      {
        rule: 'accounted',
        tone: 'ok',
        when: () => true,
        title: (f) => [text('Every item has its end: '), number(f.stored), text(` of ${count(f.received)} are stored`)],
        text: rest,
      },
    ],
    factsOf(ledger),
  )
}

/** How many items more a newer ledger has, and whether anything else in it differs. */
export function since(shown: Ledger, newer: Ledger): { items: number; moved: boolean } {
  const items = factsOf(newer).received - factsOf(shown).received
  return { items: Math.max(0, items), moved: JSON.stringify([shown.lines, shown.balanced]) !== JSON.stringify([newer.lines, newer.balanced]) }
}
