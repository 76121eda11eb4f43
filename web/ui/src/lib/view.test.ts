import { describe, expect, it } from 'vitest'
import { span } from './tree.test'
import type { Row } from './tree'
import { hits, nextHit, opened, subtreeEnds, visible } from './view'

// a(b(c, d), e(f)), g
const tree: Row[] = (
  [['a', 0], ['b', 1], ['c', 2], ['d', 2], ['e', 1], ['f', 2], ['g', 0]] as const
).map(([id, depth]) => ({ kind: 'span', id, depth, span: span(id, '', 0, 1, { name: 'op ' + id, status: id === 'd' ? 'error' : 'unset', attributes: id === 'f' ? [{ key: 'db', value: 'Καλάθι' }] : [] }) }))
const failed = (r: Row) => r.kind === 'span' && r.span.status === 'error'
const seen = (shut: string[], errors = false) =>
  visible(tree, subtreeEnds(tree), { shut: new Set(shut), errors }, failed)
    .map((i) => tree[i]!.id)
    .join('')

describe('visible', () => {
  it('leaves out what is below a row that is shut', () => {
    expect([...subtreeEnds(tree)]).toEqual([6, 4, 3, 4, 6, 6, 7])
    expect(seen([])).toBe('abcdefg')
    expect(seen(['b'])).toBe('abefg')
    expect(seen(['a'])).toBe('ag')
    expect(seen(['c', 'g', 'unheard-of'])).toBe('abcdefg')
  })
  it('shows what failed with what leads to it', () => {
    expect(seen([], true)).toBe('abd')
    expect(seen(['b'], true)).toBe('ab')
  })
  it('takes a tree of 10,000 rows by each row a few times', () => {
    let looked = 0
    const rows: Row[] = Array.from({ length: 10_000 }, (_, i) => {
      const s = span('s' + i, '', 0, 1)
      return { kind: 'span' as const, id: s.spanId, get depth() { looked++; return i }, span: s }
    })
    visible(rows, subtreeEnds(rows), { shut: new Set(), errors: true }, (r) => r.id === 's9999')
    expect(looked).toBeLessThan(100_000)
  })
})

describe('hits', () => {
  it('are found in names and attributes, in any script', () => {
    expect(hits(tree, 'OP C')).toEqual([2])
    expect(hits(tree, 'καλάθι')).toEqual([5])
    expect(hits(tree, ' ')).toEqual([])
    expect(hits(tree, 'nothing')).toEqual([])
  })
  it('are walked in both directions and around', () => {
    expect([nextHit([2, 5], 2, 1), nextHit([2, 5], 5, 1), nextHit([2, 5], 3, -1), nextHit([2, 5], 2, -1), nextHit([], 0, 1)]).toEqual([5, 2, 2, 5, undefined])
  })
  it('open what is above them', () => {
    expect([...opened(tree, new Set(['a', 'b', 'e']), 3)]).toEqual(['e'])
  })
})
