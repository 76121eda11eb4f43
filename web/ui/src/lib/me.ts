import { useState } from 'react'

const KEY = 'hoptrace.me'

function read(): string {
  try {
    return localStorage.getItem(KEY) ?? ''
  } catch {
    return '' // the browser keeps nothing
  }
}

/** Who sits here: a name for the log of issues, kept in this browser. */
export function useMe(): [string, (name: string) => void] {
  const [me, setMe] = useState(read)
  return [
    me,
    (name) => {
      setMe(name)
      try {
        localStorage.setItem(KEY, name)
      } catch {
        // it lasts as long as the page
      }
    },
  ]
}
