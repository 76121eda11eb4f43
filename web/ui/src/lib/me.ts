import { useSyncExternalStore } from 'react'
import { useSession } from './session'

const KEY = 'hoptrace.me'

let me: string | undefined
const watching = new Set<() => void>()

function read(): string {
  if (me === undefined) {
    try {
      me = localStorage.getItem(KEY) ?? ''
    } catch {
      me = '' // the browser keeps nothing
    }
  }
  return me
}

function write(name: string) {
  me = name
  try {
    localStorage.setItem(KEY, name)
  } catch {
    // it lasts as long as the page
  }
  watching.forEach((tell) => tell())
}

function subscribe(tell: () => void): () => void {
  watching.add(tell)
  return () => watching.delete(tell)
}

/**
 * Who an action is signed by. A member signs with their address, and nobody can
 * say otherwise (fixed); without one it is a name for the log of issues, kept in
 * this browser: all parts of a page see it at once.
 */
export function useMe(): { me: string; setMe: (name: string) => void; fixed: boolean } {
  const kept = useSyncExternalStore(subscribe, read)
  const member = useSession().data?.member
  return { me: member ? member.email : kept, setMe: write, fixed: !!member }
}
