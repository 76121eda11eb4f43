import type { ComponentProps } from 'react'
import { Link as Route, useLocation, useSearch } from 'wouter'

/** What goes along with a link, and to which pages: the project to all, the time of lag to those of lag. */
const ALONG = [
  ['project', '/'],
  ['lag_from', '/lag'],
] as const

/** A link within the application. "?row=x" changes the page's own parameters, "?row=" takes one away. */
export function useTo(): (to: string) => string {
  const [path] = useLocation()
  const search = useSearch()
  return (to) => {
    const own = new URLSearchParams(search)
    if (to.startsWith('?')) {
      for (const [k, v] of new URLSearchParams(to)) {
        if (v) own.set(k, v)
        else own.delete(k)
      }
      return path + '?' + own.toString()
    }
    for (const [name, pages] of ALONG) {
      const value = own.get(name)
      if (value && to.startsWith(pages) && !new URLSearchParams(to.split('?')[1]).has(name)) to += (to.includes('?') ? '&' : '?') + name + '=' + encodeURIComponent(value)
    }
    return to
  }
}

export function Link({ to, ...rest }: { to: string } & Omit<ComponentProps<'a'>, 'href'>) {
  const href = useTo()(to)
  // A place on this page: the browser's own work.
  if (to.startsWith('#')) return <a href={to} {...rest} />
  return <Route href={href} {...rest} />
}
