import { describe, expect, it } from 'vitest'
import type { Ledger, LedgerLine } from '../../api/types'
import { plain } from '../../lib/format'
import { pieceText } from '../../parts/Finding'
import { amount, ENDS, endOf, ledgerFinding, since, sumOf } from './ledger'

function line(category: string, ends: Partial<LedgerLine>): LedgerLine {
  const l: LedgerLine = { category, received: 0, stored: 0, filtered: 0, limited: 0, invalid: 0, clientDiscard: 0, parked: 0, inFlight: 0, untold: 0, reasons: [], ...ends }
  return { ...l, received: ends.received ?? sumOf(l) }
}

function ledger(lines: LedgerLine[], change: Partial<Ledger> = {}): Ledger {
  return { lines, backlog: [], balanced: true, verdict: '', ...change }
}

const said = (l: Ledger) => {
  const f = ledgerFinding(l)
  return [f.rule, plain(f.title.map(pieceText).join('')), plain(f.text.map(pieceText).join(''))]
}

describe('the finding of the ledger', () => {
  const flying = line('span', { stored: 90, inFlight: 10 })
  const limited = line('error', { stored: 1200, limited: 34, reasons: [{ outcome: 'rate_limited', reason: 'errors-a-minute', quantity: 34 }] })
  const table: [string, Ledger, string[]][] = [
    ['nothing', ledger([]), ['empty', 'Nothing was received in this time', '']],
    ['all stored', ledger([line('error', { stored: 12 }), line('log_byte', { stored: 4e6 })]), ['all', 'All 12 items that were received are stored', 'Nothing was filtered, limited, refused or dropped.']],
    ['a quota', ledger([limited, line('span', { stored: 3 })]), ['accounted', 'Every item has its end: 1 203 of 1 237 are stored', 'Of what is not, most: 34 errors, over a quota (errors-a-minute).']],
    [
      'on the way',
      ledger([flying], { backlog: [{ stage: 'persist-spans', topic: 'ingest-spans', records: 4 }] }),
      ['moving', '10 of 100 items are on their way; all others have their end', 'The stages have 4 records to read. Nothing was filtered, limited, refused or dropped.'],
    ],
    ['no end', ledger([flying], { balanced: false }), ['unexplained', '10 of 100 items have no end', 'The stages have read all there is: the items are in a collector’s spool or in a batch that is being stored, or lost. Look again in some seconds.']],
    ['no broker', ledger([flying], { balanced: false, backlog: null }), ['unexplained', '10 of 100 items have no end', 'This process cannot ask the broker whether they lie in its topics.']],
    ['a wrong sum', ledger([line('error', { stored: 5, received: 6 })]), ['odd', 'The ledger of errors does not add up', 'Received 6, of which 5 have an end.']],
  ]
  it.each(table)('tells of %s', (_, l, want) => expect(said(l)).toEqual(want))

  it('links its numbers to the row that shows them', () => {
    expect(ledgerFinding(ledger([limited])).text.filter((p) => p.href).map((p) => p.href)).toEqual(['?open=error', '?open=error'])
    expect(ledgerFinding(ledger([limited, flying])).title[0]!.href).toBe('?open=span')
  })
})

describe('a line', () => {
  it('adds every end once', () => {
    const l = line('error', { stored: 1, filtered: 2, limited: 4, invalid: 8, clientDiscard: 16, parked: 32, inFlight: 64 })
    expect(sumOf(l)).toBe(127)
    expect(ENDS).toHaveLength(7)
  })
  it('is in its own unit', () => {
    expect(plain(amount('error', 41_620))).toBe('41 620')
    expect(plain(amount('log_byte', 41_620))).toBe('41.6 kB')
    expect(plain(amount('log_byte', -41_620))).toBe('−41.6 kB')
  })
  it('puts reasons into its columns', () => {
    expect(['filtered', 'rate_limited', 'abuse', 'cardinality_limited', 'invalid', 'client_discard', 'parked', 'new one'].map(endOf)).toEqual(['filtered', 'limited', 'limited', 'limited', 'invalid', 'clientDiscard', 'parked', undefined])
  })
})

describe('a newer ledger', () => {
  const a = ledger([line('error', { stored: 3, inFlight: 2 }), line('log_byte', { stored: 10 })])
  it('tells how many items came, bytes not among them', () => {
    expect(since(a, ledger([line('error', { stored: 9 }), line('log_byte', { stored: 500 })]))).toEqual({ items: 4, moved: true })
  })
  it('tells that items moved on', () => {
    expect(since(a, ledger([line('error', { stored: 5 }), line('log_byte', { stored: 10 })]))).toEqual({ items: 0, moved: true })
  })
  it('says nothing when only the backlog differs', () => {
    expect(since(a, { ...a, backlog: [{ stage: 's', topic: 't', records: 1 }] })).toEqual({ items: 0, moved: false })
  })
})
