import type { ComponentProps } from 'react'
import { Link as Route, useLocation, useSearch } from 'wouter'

/** A link within the application. "?row=x" changes the page's own parameters; the project goes along. */
export function useTo(): (to: string) => string {
  const [path] = useLocation()
  const search = useSearch()
  return (to) => {
    const own = new URLSearchParams(search)
    if (to.startsWith('?')) {
      for (const [k, v] of new URLSearchParams(to)) own.set(k, v)
      return path + '?' + own.toString()
    }
    const project = own.get('project')
    if (!project) return to
    return to + (to.includes('?') ? '&' : '?') + 'project=' + encodeURIComponent(project)
  }
}

export function Link({ to, ...rest }: { to: string } & Omit<ComponentProps<'a'>, 'href'>) {
  const href = useTo()(to)
  // A place on this page: the browser's own work.
  if (to.startsWith('#')) return <a href={to} {...rest} />
  return <Route href={href} {...rest} />
}
