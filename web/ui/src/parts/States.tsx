import { useQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { ApiError, ask } from '../api/client'
import { givers, useSession } from '../lib/session'
import { Link } from './Link'

/** What failed, what was asked, and the same question again. */
export function Failed({ error, retry, retrying }: { error: Error; retry: () => void; retrying: boolean }) {
  const e = error instanceof ApiError ? error : undefined
  if (e?.code === 'no_permission') return <NoPermission needs={e.needs ?? ''} />
  return (
    <section className="panel state" role="alert">
      <h2 className="bad">{e ? `The question was not answered: ${e.message}` : 'This page failed: ' + error.message}</h2>
      {e && (
        <>
          <p>{e.hint}</p>
          <p className="muted">
            <code>GET {e.question}</code> · {e.code}
            {e.status > 0 && <> · HTTP {e.status}</>}
          </p>
        </>
      )}
      <button type="button" className="pick" onClick={retry} disabled={retrying}>
        {retrying ? 'Asking…' : 'Ask again'}
      </button>
    </section>
  )
}

/** What somebody may not do or see: which role would, and who can give it. */
export function NoPermission({ needs }: { needs: string }) {
  const me = useSession()
  const members = useQuery({ queryKey: ['members'], queryFn: ({ signal }) => ask<'/api/v1/members'>('/members', {}, signal), retry: false })
  const able = givers(members.data?.members ?? [], needs)
  return (
    <section className="panel state" role="alert">
      <h2>{needs ? `This is for ${needs === 'owner' ? 'owners' : needs + 's and above'}` : 'You may not see this'}</h2>
      <p>
        {me.data?.role && (
          <>
            {me.data.member ? `${me.data.member.name}, you are` : 'You are'} {me.data.role === 'owner' || me.data.role === 'admin' ? 'an' : 'a'} {me.data.role}.{' '}
          </>
        )}
        {able.length > 0 ? 'Who can give you the role:' : 'An admin or owner can give you the role.'}
      </p>
      {able.length > 0 && (
        <ul className="plainlist" aria-label="Who can give the role">
          {able.slice(0, 5).map((m) => (
            <li key={m.id}>
              <b>{m.name}</b> <a href={'mailto:' + m.email}>{m.email}</a> <span className="muted">{m.role}</span>
            </li>
          ))}
        </ul>
      )}
      <p className="muted">
        Nothing was changed. <Link to="/members">All members</Link>, <Link to="/traces">back to traces</Link>
      </p>
    </section>
  )
}

/** Why an action was refused, in a line; where it leads on, by what. */
export function Refused({ error }: { error: Error | null }) {
  if (!error) return null
  const e = error instanceof ApiError ? error : undefined
  return (
    <p className="bad" role="alert">
      {e?.code === 'no_permission' ? (
        <>
          {e.message}: <Link to="/members">an admin or owner</Link> can grant it
        </>
      ) : e?.code === 'sign_in_required' ? (
        <>
          your session has ended, and nothing was changed:{' '}
          <a href="/sign-in?to=/account" target="_blank" rel="noreferrer">
            sign in in another tab
          </a>
          , then do it again here
        </>
      ) : (
        <>
          {error.message}
          {e?.hint && <>: {e.hint}</>}
        </>
      )}
    </p>
  )
}

export function Empty({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="panel state">
      <h2>{title}</h2>
      {children}
    </section>
  )
}

/** A line to copy; short: the button says only that. */
export function Copy({ text, label = 'Copy', short }: { text: string; label?: string; short?: boolean }) {
  const [done, setDone] = useState(false)
  return (
    <div className="copy">
      <pre tabIndex={0} aria-label={label + ': the lines'}>
        <code>{text}</code>
      </pre>
      <button
        type="button"
        className="pick"
        aria-label={short ? label : undefined}
        onClick={() => {
          void navigator.clipboard.writeText(text).then(() => {
            setDone(true)
            setTimeout(() => setDone(false), 2000)
          })
        }}
      >
        {done ? 'Copied' : short ? 'Copy' : label}
      </button>
    </div>
  )
}

/** Rows that keep the frame while data is on its way. */
export function Ghosts({ rows, columns }: { rows: number; columns: number }) {
  return (
    <>
      {Array.from({ length: rows }, (_, i) => (
        <tr key={i} aria-hidden="true" className="ghosts">
          {Array.from({ length: columns }, (_, c) => (
            <td key={c}>
              <span className="ghost" />
            </td>
          ))}
        </tr>
      ))}
    </>
  )
}
