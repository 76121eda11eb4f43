import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { actionText } from './audit'

// The names stand in the server's table of routes.
it('has words for each action that the server notes', () => {
  const roles = readFileSync(new URL('../../../../api/roles.go', import.meta.url), 'utf8')
  const noted = [...roles.matchAll(/(?:admin\(|anyone, |signedIn, )"([a-z-]+\.[a-z]+)"/g)].map((m) => m[1]!)
  expect(noted.length).toBeGreaterThan(12)
  const provider = readFileSync(new URL('../../../../access/oidc.go', import.meta.url), 'utf8')
  noted.push(...[...provider.matchAll(/note\(ctx, [^,]+, "([a-z.]+)"/g)].map((m) => m[1]!))
  expect(noted).toContain('member.role')
  for (const action of noted) expect(actionText(action), action).not.toBe(action)
  expect(actionText('constructor')).toBe('constructor')
})
