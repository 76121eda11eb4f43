import { describe, expect, it } from 'vitest'
import { fitted, textWidth } from './measure'

describe('texts of pictures', () => {
  it('take more room when they are bold', () => {
    expect(textWidth('120 ms', true)).toBeGreaterThan(textWidth('120 ms'))
  })

  it('are cut in their middle when there is no room for them', () => {
    expect(fitted('short', 100)).toBe('short')
    expect(fitted('retry 1 of payments/1@40991', 62)).toBe('retry…0991')
    expect(fitted('😀'.repeat(40), 62)).not.toMatch(/[\ud800-\udbff](?![\udc00-\udfff])/)
    expect(fitted('anything', 0)).toBe('…')
  })
})
