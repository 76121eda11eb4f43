import { useEffect, useRef, useState, type FormEvent } from 'react'
import { useLocation, useSearch } from 'wouter'
import { withParams } from '../lib/filters'
import { asked } from '../lib/find'

/** The box for anything that names a message. */
export function FindBox({ q, fault, autoFocus }: { q: string; fault?: string | undefined; autoFocus?: boolean }) {
  const search = useSearch()
  const [, go] = useLocation()
  const [typed, setTyped] = useState(q)
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (autoFocus) input.current?.focus()
  }, [autoFocus])
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (typed.trim()) go('/find' + withParams(search, { ...LEFT, q: asked(typed), skip: '', stay: '' }))
  }
  return (
    <form role="search" aria-label="Find a message" className="findbox" onSubmit={submit}>
      <label>
        <span>Find</span>
        <input ref={input} type="search" value={typed} onChange={(e) => setTyped(e.target.value)} placeholder="orders/3@918273, a trace or message id, key:…" spellCheck={false} autoComplete="off" maxLength={256} aria-invalid={fault ? true : undefined} aria-describedby={fault ? 'find-fault' : undefined} />
      </label>
      <button type="submit" className="pick">
        Look it up
      </button>
      {fault && (
        <p id="find-fault" role="alert" className="bad small">
          {fault}
        </p>
      )}
    </form>
  )
}

/** Filters of the list of messages that a look-up does not take along. */
const LEFT = { topic: '', group: '', order: '', partition: '', offset_from: '', offset_to: '', service: '', min_latency: '', errors: '', query: '', text: '' }
