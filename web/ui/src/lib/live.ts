import { useLocation, useSearch } from 'wouter'
import { withParams } from './filters'

/** Whether the page asks again by itself; what is not its usual way stands in the URL. */
export function useLive(usual = true): [boolean, (on: boolean) => void] {
  const search = useSearch()
  const [path, go] = useLocation()
  const on = (new URLSearchParams(search).get('live') ?? (usual ? 'on' : 'off')) !== 'off'
  return [on, (next) => go(path + withParams(search, { live: next === usual ? '' : next ? 'on' : 'off' }), { replace: true })]
}
