import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent } from 'react'
import { ask } from '../../api/client'
import { complete } from '../../lib/complete'
import { count } from '../../lib/format'

interface QueryFieldProps {
  subject: 'spans' | 'hops'
  project: string | undefined
  from: string | undefined
  to: string | undefined
  value: string
  /** Asks it. */
  run: (q: string) => void
  field: React.RefObject<HTMLInputElement | null>
}

const PAUSE_MS = 120

/** A query with what may be written next: a combobox. */
export function QueryField({ subject, project, from, to, value, run, field }: QueryFieldProps) {
  const list = useId()
  const [typed, setTyped] = useState(value)
  const [at, setAt] = useState(value.length)
  const [open, setOpen] = useState(false)
  const [active, setActive] = useState(-1)
  const [last, setLast] = useState(value)
  if (last !== value) {
    // The URL changed under the field: it shows what is asked.
    setLast(value)
    setTyped(value)
    setAt(value.length)
  }
  const [asked, setAsked] = useState({ q: typed, at })
  useEffect(() => {
    const t = setTimeout(() => setAsked({ q: typed, at }), PAUSE_MS)
    return () => clearTimeout(t)
  }, [typed, at])
  const answer = useQuery({
    queryKey: ['complete', subject, project, from, to, asked],
    queryFn: ({ signal }) => ask<'/api/v1/search/complete'>('/search/complete', { subject, project, from, to, q: asked.q, at: asked.at }, signal),
    enabled: open || asked.q !== value,
    placeholderData: keepPreviousData,
    staleTime: 30_000,
    retry: false,
  })
  const caret = useRef<number>(undefined)
  useEffect(() => {
    if (caret.current === undefined) return
    field.current?.setSelectionRange(caret.current, caret.current)
    caret.current = undefined
  })
  const current = answer.data && asked.q === typed && asked.at === at && !answer.isPlaceholderData
  const items = open && answer.data ? answer.data.items : []
  // What is half written is no fault yet, unless it is asked.
  const fault = answer.data?.fault && current && (answer.data.fault.to < typed.length || !open) ? answer.data.fault : undefined
  const take = (i: number) => {
    const item = items[i]
    if (!item || !answer.data || !current) return
    const next = complete(typed, answer.data.from, answer.data.to, item)
    setTyped(next.q)
    setAt(next.at)
    setActive(-1)
    caret.current = next.at
    field.current?.focus()
  }
  const submit = (e: FormEvent) => {
    e.preventDefault()
    setOpen(false)
    setActive(-1)
    run(typed.trim())
  }
  const key = (e: KeyboardEvent<HTMLInputElement>) => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault()
      setOpen(true)
      if (items.length > 0) setActive((a) => (e.key === 'ArrowDown' ? (a + 1) % items.length : (a <= 0 ? items.length : a) - 1))
    } else if (e.key === 'Enter' && open && active >= 0) {
      e.preventDefault()
      take(active)
    } else if (e.key === 'Tab' && open && active >= 0 && !e.shiftKey) {
      e.preventDefault()
      take(active)
    } else if (e.key === 'Escape' && open) {
      e.preventDefault()
      setOpen(false)
      setActive(-1)
    } else if (e.key === ' ' && e.ctrlKey) {
      e.preventDefault()
      setOpen(true)
    }
  }
  const moved = () => setAt(field.current?.selectionStart ?? typed.length)
  const shown = open && items.length > 0
  return (
    <form className="asks" role="search" aria-label="Query" onSubmit={submit}>
      <div className="asks-field">
        <input
          ref={field}
          type="text"
          role="combobox"
          aria-label="Query"
          aria-autocomplete="list"
          aria-expanded={shown}
          aria-controls={list}
          aria-activedescendant={shown && active >= 0 ? `${list}-${active}` : undefined}
          aria-invalid={fault ? true : undefined}
          aria-describedby={fault ? list + '-fault' : undefined}
          placeholder={subject === 'spans' ? 'service:payments duration>250ms -status:error http.route:/orders "card declined"' : 'topic:orders group:billing backlog>2s age>1h order.id:4711'}
          value={typed}
          maxLength={1000}
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="none"
          onChange={(e) => {
            setTyped(e.target.value)
            setAt(e.target.selectionStart ?? e.target.value.length)
            setOpen(true)
            setActive(-1)
          }}
          onKeyDown={key}
          onKeyUp={moved}
          onClick={() => {
            moved()
            setOpen(true)
          }}
          onBlur={() => setOpen(false)}
        />
        <kbd aria-hidden="true">/</kbd>
        <ul id={list} role="listbox" aria-label="What may be written here" className="completions" hidden={!shown}>
          {items.map((item, i) => (
            <li
              key={item.kind + item.text}
              id={`${list}-${i}`}
              role="option"
              aria-selected={i === active}
              className={i === active ? 'on' : ''}
              onMouseDown={(e) => {
                e.preventDefault() // the field keeps the focus
                take(i)
              }}
              ref={(el) => {
                if (i === active) el?.scrollIntoView({ block: 'nearest' })
              }}
            >
              <b className="mono">{item.text}</b>
              <span className="muted">{item.does}</span>
              <span className="muted type">{item.rows !== null ? count(item.rows) : item.type}</span>
            </li>
          ))}
        </ul>
      </div>
      <button type="submit" className="pick on">
        Search
      </button>
      {fault && (
        <p id={list + '-fault'} className="fault" role="alert">
          {fault.message} <span className="muted">{fault.wayOut}</span>
        </p>
      )}
    </form>
  )
}
