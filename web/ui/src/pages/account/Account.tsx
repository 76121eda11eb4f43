import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { act, ask, remove } from '../../api/client'
import type { components } from '../../api/schema'
import type { Status } from '../../api/types'
import { fullTime } from '../../lib/format'
import { useTitle } from '../../lib/hooks'
import { text } from '../../lib/say'
import { browserText, may, ROLES, useSession, type Me, type Role } from '../../lib/session'
import { SignOutPlan } from '../../parts/AccountMenu'
import { Finding } from '../../parts/Finding'
import { Link } from '../../parts/Link'
import { Plan } from '../../parts/Plan'
import { Shell } from '../../parts/Shell'
import { Copy, Empty, Failed } from '../../parts/States'

type SessionLine = components['schemas']['SessionLine']
type TokenLine = components['schemas']['TokenLine']

export const minute = (t: string | null) => (t ? fullTime(t).replace(/:\d\d\.\d+/, '') : 'never')

type Doing = { kind: 'name' | 'password' | 'token' | 'out' | 'everywhere' } | { kind: 'session'; session: SessionLine } | { kind: 'revoke'; token: TokenLine }

/** One's own name, password, browsers and tokens. */
export function Account({ status }: { status: Status | undefined }) {
  const me = useSession()
  const m = me.data?.member
  const [doing, setDoing] = useState<Doing>()
  const sessions = useQuery({ queryKey: ['sessions'], queryFn: ({ signal }) => ask<'/api/v1/me/sessions'>('/me/sessions', {}, signal), enabled: !!m })
  const tokens = useQuery({ queryKey: ['tokens'], queryFn: ({ signal }) => ask<'/api/v1/me/tokens'>('/me/tokens', {}, signal), enabled: !!m })
  useTitle('Account')
  const error = me.error ?? sessions.error ?? tokens.error
  const finding = m ? { rule: 'account', tone: 'ok' as const, title: [text(`You are ${m.name}, ${m.role}`)], text: [text(m.email + '.')] } : undefined
  return (
    <Shell page="Settings" status={status} back="/settings">
      <Finding finding={finding} failed={error ? 'The account cannot be shown' : me.data && !m ? 'Nobody signs in here' : undefined}>
        <Link to="/members" className="tag">
          Members
        </Link>
      </Finding>
      {error ? (
        <Failed error={error} retry={() => void Promise.all([me.refetch(), sessions.refetch(), tokens.refetch()])} retrying={sessions.isFetching} />
      ) : me.data && !m ? (
        <Empty title="There are no accounts yet">
          <p>Whoever sits at this machine may do everything. The first member is an owner, and from then on one must sign in:</p>
          <Copy text="hoptrace members create --email you@example.com --role owner" />
        </Empty>
      ) : (
        <div className="stacked">
          <section className="panel pad" aria-label="You">
            <div className="actions">
              <button type="button" className="pick" onClick={() => setDoing({ kind: 'name' })}>
                Name…
              </button>
              {m?.password && (
                <button type="button" className="pick" onClick={() => setDoing({ kind: 'password' })}>
                  Password…
                </button>
              )}
              <button type="button" className="pick" onClick={() => setDoing({ kind: 'out' })}>
                Sign out…
              </button>
              <button type="button" className="pick" onClick={() => setDoing({ kind: 'everywhere' })}>
                Sign out everywhere…
              </button>
            </div>
          </section>
          <section className="panel scroll" aria-label="Browsers">
            <table aria-label="Browsers">
              <thead>
                <tr>
                  <th>Signed in with</th>
                  <th>From</th>
                  <th>Used</th>
                  <th className="wide">Ends at the latest</th>
                  <th>
                    <span className="only-read">What can be done</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {sessions.data?.sessions.map((s) => (
                  <tr key={s.id}>
                    <td className="wrap" title={s.agent}>
                      {browserText(s.agent)} {s.current && <span className="tag">this one</span>}
                    </td>
                    <td className="mono">{s.address}</td>
                    <td>{minute(s.used)}</td>
                    <td className="wide muted">{minute(s.expires)}</td>
                    <td>
                      {!s.current && (
                        <button type="button" className="pick" onClick={() => setDoing({ kind: 'session', session: s })}>
                          End…
                        </button>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
          <section className="panel scroll" aria-label="Tokens">
            <table aria-label="Tokens">
              <thead>
                <tr>
                  <th>Token</th>
                  <th>May</th>
                  <th>Ends</th>
                  <th className="wide">Last used</th>
                  <th>
                    <span className="only-read">What can be done</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {tokens.data?.tokens.map((t) => (
                  <tr key={t.id}>
                    <td>
                      <b>{t.name}</b> <span className="mono muted">{t.prefix}…</span>
                    </td>
                    <td>{[t.role, ...t.scopes].filter(Boolean).join(', ')}</td>
                    <td>{minute(t.expires)}</td>
                    <td className="wide muted">{minute(t.lastUsed)}</td>
                    <td>
                      <button type="button" className="pick" onClick={() => setDoing({ kind: 'revoke', token: t })}>
                        Revoke…
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
            <div className="pad">
              {tokens.data?.tokens.length === 0 && <p>You have no token. A program shows one: <code>Authorization: Bearer hpt_…</code>, or HOPTRACE_TOKEN of the commands.</p>}
              <button type="button" className="pick" onClick={() => setDoing({ kind: 'token' })}>
                New token…
              </button>
            </div>
          </section>
        </div>
      )}
      {doing && me.data?.member && <Dialog doing={doing} me={me.data} close={() => setDoing(undefined)} />}
    </Shell>
  )
}

function Dialog({ doing, me, close }: { doing: Doing; me: Me; close: () => void }) {
  const queries = useQueryClient()
  const [name, setName] = useState(doing.kind === 'name' ? me.member!.name : '')
  const [current, setCurrent] = useState('')
  const [password, setPassword] = useState('')
  const [role, setRole] = useState<Role>('viewer')
  const [days, setDays] = useState(90)
  const [cli, setCli] = useState(false)
  const [secret, setSecret] = useState('')
  const go = useMutation({
    mutationFn: async (): Promise<void> => {
      if (doing.kind === 'name') await act<'/api/v1/me', 'put'>('put', '/me', {}, { name })
      else if (doing.kind === 'password') await act<'/api/v1/me/password', 'put'>('put', '/me/password', {}, { current, password })
      else if (doing.kind === 'token') setSecret((await act<'/api/v1/me/tokens', 'post'>('post', '/me/tokens', {}, { name, role, days, scopes: cli ? ['project:releases'] : [] })).secret)
      else if (doing.kind === 'session') await remove('/me/sessions/' + doing.session.id)
      else if (doing.kind === 'revoke') await remove('/me/tokens/' + doing.token.id)
    },
    onSuccess: async () => {
      await Promise.all(['me', 'sessions', 'tokens'].map((k) => queries.invalidateQueries({ queryKey: [k] })))
      if (doing.kind !== 'token') close()
    },
  })
  const plan = (title: string, verb: string, children: ReactNode, danger = false, disabled = false) => (
    <Plan title={title} verb={verb} danger={danger} busy={go.isPending} error={go.error} disabled={disabled} done={secret !== ''} close={close} go={() => go.mutate()}>
      {children}
    </Plan>
  )
  switch (doing.kind) {
    case 'name':
      return plan('Your name', 'Change it', <Field label="Name" value={name} set={setName} />, false, !name.trim())
    case 'password':
      return plan(
        'Your password',
        'Change it',
        <>
          <p>Your other browsers are signed out.</p>
          <Field label="Current password" type="password" value={current} set={setCurrent} complete="current-password" />
          <Field label="New password, at least 12 characters" type="password" value={password} set={setPassword} complete="new-password" />
        </>,
        false,
        password.length < 12,
      )
    case 'token':
      return plan(
        'A new token',
        'Make it',
        secret ? (
          <>
            <p>This is shown only now. Keep it where the program reads it.</p>
            <Copy text={secret} />
          </>
        ) : (
          <>
            <Field label="Name, after the program that is to have it" value={name} set={setName} />
            <label>
              May do what a
              <select className="pick" aria-label="Role" value={role} onChange={(e) => setRole(e.target.value as Role)}>
                {ROLES.filter((r) => may(me.role, r)).map((r) => (
                  <option key={r}>{r}</option>
                ))}
              </select>
              may
            </label>
            <label>
              Days that it is good for
              <input type="number" min={1} max={366} value={days} onChange={(e) => setDays(Number(e.target.value))} />
            </label>
            {may(me.role, 'member') && (
              <label>
                <input type="checkbox" checked={cli} onChange={(e) => setCli(e.target.checked)} /> sentry-cli may upload releases and source maps with it
              </label>
            )}
          </>
        ),
        false,
        !name.trim(),
      )
    case 'session':
      return plan('End a session', 'End it', <p>{browserText(doing.session.agent)}, used last from {doing.session.address} at {minute(doing.session.used)}, must sign in again.</p>, true)
    case 'revoke':
      return plan('Revoke a token', 'Revoke it', <p>What shows {doing.token.name} ({doing.token.prefix}…) is refused at once. It cannot be taken back; make another instead.</p>, true)
    case 'out':
    case 'everywhere':
      return <SignOutPlan everywhere={doing.kind === 'everywhere'} close={close} />
  }
}

export function Field({ label, value, set, type = 'text', complete = 'off' }: { label: string; value: string; set: (v: string) => void; type?: string; complete?: string }) {
  return (
    <label className="field">
      {label}
      <input type={type} value={value} autoComplete={complete} maxLength={1024} onChange={(e) => set(e.target.value)} />
    </label>
  )
}
