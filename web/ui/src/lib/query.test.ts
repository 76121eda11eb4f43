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
  })
  it('changes its state and keeps the rest', () => {
    expect(withState('is:unresolved level:error "card declined"', 'resolved')).toBe('is:resolved level:error "card declined"')
    expect(withState('level:error', 'new')).toBe('is:new level:error')
    expect(withState('is:[new,regressed] x', 'all')).toBe('x')
    expect(withState('!is:resolved is:assigned', 'archived')).toBe('is:archived is:assigned')
  })
  it('quotes values that need it', () => {
    expect(term('release', 'shop@1.2.3')).toBe('release:shop@1.2.3')
    expect(term('my key', 'a "b" *')).toBe('tags[my key]:"a \\"b\\" *"')
    expect(term('customer', '')).toBe('customer:""')
  })
})
