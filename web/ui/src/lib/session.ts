import { useQuery } from '@tanstack/react-query'
import { ask } from '../api/client'
import type { components } from '../api/schema'

export type Me = components['schemas']['Me']
export type Member = components['schemas']['Member']
export type Role = 'viewer' | 'member' | 'admin' | 'owner'

export const ROLES: readonly Role[] = ['viewer', 'member', 'admin', 'owner']

/** Whether who has a role may do what needs another; nobody may without one. */
export function may(has: string | undefined, needs: Role): boolean {
  return !!has && (ROLES as readonly string[]).indexOf(has) >= ROLES.indexOf(needs)
}

/** Who sits here, as the server knows them. */
export function useSession() {
  return useQuery({ queryKey: ['me'], queryFn: ({ signal }) => ask<'/api/v1/me'>('/me', {}, signal), staleTime: 60_000 })
}

/**
 * Whether who sits here may do what needs a role. Nobody may before the server
 * has said who that is; where nobody signs in, whoever sits there may everything.
 * The server decides again when it is done: this is for what is shown.
 */
export function useCan(needs: Role): boolean {
  return may(useSession().data?.role, needs)
}

/** Who gives roles: members above, the owners first; an owner can be made by owners only. */
export function givers(members: readonly Member[], needs: string): Member[] {
  const least = needs === 'owner' ? 'owner' : 'admin'
  return members.filter((m) => may(m.role, least)).sort((a, b) => ROLES.indexOf(b.role as Role) - ROLES.indexOf(a.role as Role) || a.name.localeCompare(b.name))
}

/** The letters that stand for a name: at most two. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s._-]+/).filter(Boolean)
  const letters = words.length > 1 ? [words[0]!, words[words.length - 1]!].map((w) => [...w][0]!) : [...(words[0] ?? '?')].slice(0, 2)
  return letters.join('').toUpperCase()
}

/** What a browser calls itself, in words one knows: Firefox 140 on Linux. */
export function browserText(agent: string): string {
  const browser = /(Edg|OPR|Firefox|Chrome|CriOS|FxiOS)\/(\d+)/.exec(agent) ?? /(Version)\/(\d+).*Safari/.exec(agent)
  const names: Record<string, string> = { Edg: 'Edge', OPR: 'Opera', CriOS: 'Chrome', FxiOS: 'Firefox', Version: 'Safari' }
  // Edge and Opera call themselves Chrome as well.
  const own = /(Edg|OPR)\/(\d+)/.exec(agent) ?? browser
  if (!own) return agent || 'a program'
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|CrOS|Linux)/.exec(agent)?.[1]
  return `${names[own[1]!] ?? own[1]} ${own[2]}` + (system ? ` on ${{ 'Mac OS X': 'macOS', CrOS: 'ChromeOS' }[system] ?? system}` : '')
}

/** Where sign-in leads back to: a path of this application, and never the sign-in page. */
export function backTo(search: string): string {
  const to = new URLSearchParams(search).get('to') ?? ''
  return /^\/(?![/\\])[^\\]*$/.test(to) && !to.startsWith('/sign-in') && !to.startsWith('/welcome') ? to : '/'
}

/** Why the identity provider's answer did not sign one in. */
export function refusedText(code: string): string {
  return (
    {
      provider: 'The identity provider does not answer as it should. The server’s log says why.',
      denied: 'The identity provider, or you, said no.',
      expired: 'It took too long, or another tab began anew. Try again.',
      email: 'The identity provider has not verified your e-mail address. Verify it there, then try again.',
      domain: 'Addresses of your domain may not sign in here. An admin sets which may.',
      'not-member': 'You are no member here. Ask an admin to invite you.',
      other: 'Your e-mail address belongs to a member who is somebody else at the identity provider. Ask an admin.',
      store: 'The server could not look you up. Try again in a moment.',
    }[code] ?? 'The identity provider did not sign you in. Try again.'
  )
}
