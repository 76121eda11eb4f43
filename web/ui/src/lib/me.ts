import { useSyncExternalStore } from 'react'

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

/** Who sits here: a name for the log of issues, kept in this browser; all parts of a page see it at once. */
export function useMe(): [string, (name: string) => void] {
  return [useSyncExternalStore(subscribe, read), write]
}
