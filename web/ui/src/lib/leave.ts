import { useEffect } from 'react'
import type { AroundNavHandler } from 'wouter'

type Ask = (go: () => void) => void

let guard: { stays: (to: string) => boolean; ask: Ask } | undefined

/** Navigation within the application, which waits while a page has what is not saved. */
export const aroundNav: AroundNavHandler = (navigate, to, options) => {
  const go = () => navigate(to, options)
  if (guard && !guard.stays(to)) guard.ask(go)
  else go()
}

/** While on, ask is called before another page is shown, and the browser asks before it is closed. */
export function useLeaveGuard(on: boolean, stays: (to: string) => boolean, ask: Ask) {
  useEffect(() => {
    if (!on) return
    const mine = { stays, ask }
    guard = mine
    const close = (e: BeforeUnloadEvent) => e.preventDefault()
    addEventListener('beforeunload', close)
    return () => {
      if (guard === mine) guard = undefined
      removeEventListener('beforeunload', close)
    }
  })
}
