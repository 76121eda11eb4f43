import { useQuery } from '@tanstack/react-query'
import { ask } from '../api/client'
import type { components } from '../api/schema'

export type Me = components['schemas']['Me']
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
