import { expect, it } from 'vitest'
import { spanAt } from './placed'

it('places a span by its own times and by how far its clock is off', () => {
  expect(spanAt({ start: '1000000000', end: '1000000500' }, '1000000000')).toEqual({ from: 0, to: 500 })
  expect(spanAt({ start: '1000000000', end: '1000000500', movedNs: -1900 }, '999998000')).toEqual({ from: 100, to: 600 })
})
