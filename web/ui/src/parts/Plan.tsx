import { useEffect, useRef, type FormEvent, type ReactNode } from 'react'
import { ApiError } from '../api/client'

/** What will happen, to what, and how to undo it; nothing does until the last button. */
export function Plan({ title, verb, danger, busy, error, disabled, close, go, children }: { title: string; verb: string; danger?: boolean; busy: boolean; error: Error | null; disabled?: boolean; close: () => void; go: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    dialog.current?.showModal()
  }, [])
  const submit = (e: FormEvent) => {
    e.preventDefault()
    if (!busy && !disabled) go()
  }
  return (
    <dialog ref={dialog} className="help plan" aria-label={title} onClose={close} onClick={(e) => e.target === e.currentTarget && dialog.current?.close()}>
      <form onSubmit={submit}>
        <h1>{title}</h1>
        {children}
        {error && (
          <p className="bad" role="alert">
            {error.message}
            {error instanceof ApiError && error.hint && <>: {error.hint}</>}
          </p>
        )}
        <div className="buttons">
          <button type="button" className="pick" onClick={() => dialog.current?.close()}>
            Keep as it is
          </button>
          <button type="submit" className={'pick on' + (danger ? ' danger' : '')} disabled={busy || disabled}>
            {busy ? 'Doing it' : verb}
          </button>
        </div>
      </form>
    </dialog>
  )
}
