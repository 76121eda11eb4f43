import { describe, expect, it } from 'vitest'
import { backTo, browserText, givers, initials, may, refusedText, ROLES, type Member } from './session'

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

describe('who can give a role', () => {
  const member = (name: string, role: string) => ({ id: name, email: name + '@example.com', name, role, password: true, linked: false, created: '0', seen: null }) as Member
  const all = [member('vera', 'viewer'), member('ada', 'admin'), member('olga', 'owner'), member('abel', 'admin')]
  it('is an admin or owner, of owners an owner only', () => {
    expect(givers(all, 'member').map((m) => m.name)).toEqual(['olga', 'abel', 'ada'])
    expect(givers(all, 'owner').map((m) => m.name)).toEqual(['olga'])
    expect(givers([], 'admin')).toEqual([])
  })
})

it('stands for a name with at most two letters', () => {
  expect(['Ada Lovelace', 'ada', 'o', '', '  ', 'Jean-Luc van Houten', '陳大文', '🦊 fox'].map(initials)).toEqual(['AL', 'AD', 'O', '?', '?', 'JH', '陳大', '🦊F'])
})

it('names a browser in words', () => {
  const f = (agent: string, want: string) => expect(browserText(agent)).toBe(want)
  f('Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 'Firefox 140 on Linux')
  f('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/159.0.0.0 Safari/537.36', 'Chrome 159 on Windows')
  f('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/159.0.0.0 Safari/537.36 Edg/159.0.0.0', 'Edge 159 on Windows')
  f('Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Safari/605.1.15', 'Safari 19 on macOS')
  f('curl/8.10.1', 'curl/8.10.1')
  f('', 'a program')
})
