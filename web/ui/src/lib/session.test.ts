import { describe, expect, it } from 'vitest'
import { backTo, may, refusedText, ROLES } from './session'

describe('who may what', () => {
  it('goes by the order of roles', () => {
    for (const [i, has] of ROLES.entries()) for (const [k, needs] of ROLES.entries()) expect(may(has, needs)).toBe(i >= k)
    expect(may('', 'viewer')).toBe(false)
    expect(may(undefined, 'viewer')).toBe(false)
    expect(may('root', 'viewer')).toBe(false)
  })
})

describe('the way back after sign-in', () => {
  it('is a path of this application', () => {
    expect(backTo('?to=' + encodeURIComponent('/issues/7?from=-1h'))).toBe('/issues/7?from=-1h')
    for (const bad of ['', 'https://evil.example', '//evil.example', '/\\evil.example', 'javascript:alert(1)', '/sign-in?to=/sign-in']) expect(backTo('?to=' + encodeURIComponent(bad))).toBe('/')
  })
})

it('has a text for what it does not know', () => {
  expect(refusedText('expired')).toContain('Try again')
  expect(refusedText('constructor-like')).toContain('did not sign you in')
})
