import { describe, expect, it } from 'vitest'
import { stepAt, stepsOf } from './steps'

describe('the step of a time', () => {
  const all = stepsOf({ from: '1000', to: '1250', stepNs: 100, steps: [] })
  it('is the one that it lies in, whether or not it begins there', () => {
    expect(stepAt(all, '1100')?.start).toBe('1100')
    expect(stepAt(all, '1199')?.start).toBe('1100')
    expect(stepAt(all, '1249')).toMatchObject({ start: '1200', end: '1250' })
  })
  it('is none outside of the range, or of what is no time', () => {
    for (const at of ['', '999', '1250', '-1', 'now', '99999999999999999999999']) expect(stepAt(all, at)).toBeUndefined()
  })
})
