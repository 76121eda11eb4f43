import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useLocation, useSearch } from 'wouter'
import { act, ApiError } from '../../api/client'
import { useTitle } from '../../lib/hooks'
import { backTo, refusedText, useSession } from '../../lib/session'
import { Failed } from '../../parts/States'

/** By password, or by the identity provider when there is one. */
export function SignIn({ to }: { to?: string }) {
  const search = useSearch()
  const back = to ?? backTo(search)
  const me = useSession()
  const queries = useQueryClient()
  const [, go] = useLocation()
  const [email, setEmail] = useState('')
  const [password, setPassword] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  const refused = new URLSearchParams(search).get('refused')
  useTitle('Sign in')
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (busy) return
    setBusy(true)
    setError(null)
    act<'/api/v1/sign-in', 'post'>('post', '/sign-in', {}, { email, password })
      .then(() => {
        // What was refused before is asked again as who one is now.
        queries.clear()
        go(back, { replace: true })
      }, setError)
      .finally(() => setBusy(false))
  }
  if (me.error) {
    return (
      <main id="main" className="gate">
        <Failed error={me.error} retry={() => void me.refetch()} retrying={me.isFetching} />
      </main>
    )
  }
  const s = me.data
  return (
    <main id="main" className="gate">
      <section className="panel pad" aria-busy={!s}>
        <h1>Sign in to hoptrace</h1>
        {refused && (
          <p className="bad" role="alert">
            {refusedText(refused)}
          </p>
        )}
        {s?.setup ? (
          <>
            <p>Nobody can sign in here yet. The log of the server has a link by which the first owner is made; or, on the server’s machine:</p>
            <pre className="wrap" tabIndex={0}>
              <code>hoptrace members create --email you@example.com --role owner</code>
            </pre>
          </>
        ) : (
          <>
            {s?.oidc && (
              <p>
                <a className="pick on" href={'/auth/oidc/start?to=' + encodeURIComponent(back)}>
                  Continue with {s.oidc}
                </a>
              </p>
            )}
            <form onSubmit={submit} className="fields">
              <label>
                E-mail address
                <input type="email" name="email" autoComplete="username" required maxLength={254} value={email} onChange={(e) => setEmail(e.target.value)} />
              </label>
              <label>
                Password
                <input type="password" name="password" autoComplete="current-password" required maxLength={1024} value={password} onChange={(e) => setPassword(e.target.value)} />
              </label>
              <Fault error={error} />
              <button type="submit" className="pick on" disabled={busy}>
                {busy ? 'Signing in' : 'Sign in'}
              </button>
            </form>
            <p className="muted small">No password yet, or forgotten? An admin can make you a link to set one.</p>
          </>
        )}
      </section>
    </main>
  )
}

function Fault({ error }: { error: Error | null }) {
  if (!error) return null
  const e = error instanceof ApiError ? error : undefined
  return (
    <p className="bad" role="alert">
      {error.message}
      {e && <>: {e.retryAfter ? `wait ${e.retryAfter} s, then try again` : e.hint}</>}
    </p>
  )
}

/** Behind a link: one sets a password, once; the first one makes the first owner. */
export function Welcome() {
  const link = location.hash.slice(1)
  const queries = useQueryClient()
  const [, go] = useLocation()
  const who = useQuery({
    queryKey: ['link', link],
    queryFn: () => act<'/api/v1/links/look', 'post'>('post', '/links/look', {}, { link }),
    retry: false,
    staleTime: Infinity,
  })
  const [email, setEmail] = useState('')
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<Error | null>(null)
  useTitle('Welcome')
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (busy) return
    setBusy(true)
    setError(null)
    act<'/api/v1/links/use', 'post'>('post', '/links/use', {}, { link, password, ...(who.data?.setup ? { email, name } : {}) })
      .then(() => {
        queries.clear()
        go('/', { replace: true })
      }, setError)
      .finally(() => setBusy(false))
  }
  return (
    <main id="main" className="gate">
      <section className="panel pad" aria-busy={who.isPending}>
        <h1>{who.data?.setup ? 'Become the first owner' : 'Set your password'}</h1>
        {who.error && (
          <p className="bad" role="alert">
            {who.error.message}
            {who.error instanceof ApiError && <>: {who.error.hint}</>}
          </p>
        )}
        {who.data && (
          <form onSubmit={submit} className="fields">
            {who.data.setup ? (
              <>
                <p>From now on one must sign in here. You may do everything, and invite others.</p>
                <label>
                  E-mail address
                  <input type="email" autoComplete="username" required maxLength={254} value={email} onChange={(e) => setEmail(e.target.value)} />
                </label>
                <label>
                  Name
                  <input type="text" autoComplete="name" maxLength={200} value={name} onChange={(e) => setName(e.target.value)} />
                </label>
              </>
            ) : (
              <p>
                For <b>{who.data.name}</b>, {who.data.email}.
              </p>
            )}
            <label>
              Password, at least 12 characters
              <input type="password" autoComplete="new-password" required minLength={12} maxLength={1024} value={password} onChange={(e) => setPassword(e.target.value)} />
            </label>
            <Fault error={error} />
            <button type="submit" className="pick on" disabled={busy}>
              {busy ? 'Setting it' : 'Set it and sign in'}
            </button>
          </form>
        )}
      </section>
    </main>
  )
}
