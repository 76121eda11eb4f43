import { useState, type ReactNode } from 'react'
import { ApiError } from '../api/client'

/** What failed, what was asked, and the same question again. */
export function Failed({ error, retry, retrying }: { error: Error; retry: () => void; retrying: boolean }) {
  const e = error instanceof ApiError ? error : undefined
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

export function Empty({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="panel state">
      <h2>{title}</h2>
      {children}
    </section>
  )
}

/** A line to copy. */
export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [done, setDone] = useState(false)
  return (
    <div className="copy">
      <pre tabIndex={0} aria-label={label + ': the lines'}>
        <code>{text}</code>
      </pre>
      <button
        type="button"
        className="pick"
        onClick={() => {
          void navigator.clipboard.writeText(text).then(() => {
            setDone(true)
            setTimeout(() => setDone(false), 2000)
          })
        }}
      >
        {done ? 'Copied' : label}
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
