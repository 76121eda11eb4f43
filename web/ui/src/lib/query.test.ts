import { describe, expect, it } from 'vitest'
import { stateOf, term, withState } from './query'

describe('the query of the list of issues', () => {
  it('has the state of its chip', () => {
    expect(stateOf('is:unresolved level:error')).toBe('unresolved')
    expect(stateOf('card')).toBe('all')
    expect(stateOf('is:archived is:assigned')).toBe('archived')
    expect(stateOf('is:new is:regressed')).toBeUndefined()
    expect(stateOf('!is:resolved')).toBeUndefined()
    expect(stateOf('is:[new,regressed]')).toBeUndefined()
    expect(stateOf('is:ongoing')).toBeUndefined()
    expect(stateOf('"is:new"')).toBe('all')
    expect(stateOf('is:new (level:error OR topic:orders)')).toBe('new')
    expect(stateOf('("is:new" OR x)')).toBe('all')
    for (const q of ['is:new OR level:error', '(is:new OR level:error)', '-(level:error is:new)', 'NOT is:new', '-is:new', 'is:!=new']) expect(stateOf(q), q).toBeUndefined()
  })
  it('changes its state and keeps the rest', () => {
    expect(withState('is:unresolved level:error "card declined"', 'resolved')).toBe('is:resolved level:error "card declined"')
    expect(withState('level:error', 'new')).toBe('is:new level:error')
    expect(withState('is:[new,regressed] x', 'all')).toBe('x')
    expect(withState('!is:resolved is:assigned', 'archived')).toBe('is:archived is:assigned')
    expect(withState('NOT is:resolved AND level:error', 'archived')).toBe('is:archived level:error')
    expect(withState('level:error OR level:fatal', 'new')).toBe('is:new (level:error OR level:fatal)')
    expect(withState('level:error OR level:fatal', 'all')).toBe('level:error OR level:fatal')
    expect(withState('is:new (level:error OR "a) b")', 'resolved')).toBe('is:resolved (level:error OR "a) b")')
  })
  it('quotes values that need it', () => {
    expect(term('release', 'shop@1.2.3')).toBe('release:shop@1.2.3')
    expect(term('my key', 'a "b" *')).toBe('tags[my key]:"a \\"b\\" *"')
    expect(term('customer', '')).toBe('customer:""')
    expect(term('version', 'v1(beta')).toBe('version:"v1(beta"')
  })
})
