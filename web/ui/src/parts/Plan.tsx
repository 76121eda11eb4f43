import { useEffect, useRef, type FormEvent, type ReactNode } from 'react'
import { Refused } from './States'

interface PlanProps {
  title: string
  verb: string
  danger?: boolean
  busy: boolean
  error: Error | null
  disabled?: boolean
  /** It has happened; what is left is to read what came of it. */
  done?: boolean
  close: () => void
  go: () => void
  children: ReactNode
}

/** What will happen, to what, and how to undo it; nothing does until the last button. */
export function Plan({ title, verb, danger, busy, error, disabled, done, close, go, children }: PlanProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    dialog.current?.showModal()
  }, [])
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (!busy && !disabled && !done) go()
  }
  return (
    <dialog ref={dialog} className="help plan" aria-label={title} onClose={close} onClick={(e) => e.target === e.currentTarget && dialog.current?.close()}>
      <form onSubmit={submit}>
        <h1>{title}</h1>
        {children}
        <Refused error={error} />
        <div className="buttons">
          <button type="button" className={'pick' + (done ? ' on' : '')} onClick={() => dialog.current?.close()}>
            {done ? 'Close' : 'Keep as it is'}
          </button>
          {!done && (
            <button type="submit" className={'pick on' + (danger ? ' danger' : '')} disabled={busy || disabled}>
              {busy ? 'Doing it' : verb}
            </button>
          )}
        </div>
      </form>
    </dialog>
  )
}
