import { useCallback, useEffect, useState, useSyncExternalStore } from 'react'

/** The width of an element in px; 0 before it is known. */
export function useWidth(): [(el: HTMLElement | null) => void, number] {
  const [element, setElement] = useState<HTMLElement | null>(null)
  const [width, setWidth] = useState(0)
  useEffect(() => {
    if (!element) return
    const observer = new ResizeObserver(() => setWidth(element.clientWidth))
    observer.observe(element)
    setWidth(element.clientWidth)
    return () => observer.disconnect()
  }, [element])
  return [setElement, width]
}

/** Goes to the place that the URL names behind #, and stays there while what is above it comes. */
export function usePlace(path: string): void {
  useEffect(() => {
    const id = location.hash.slice(1)
    if (!id) return
    const go = () => document.getElementById(id)?.scrollIntoView({ block: 'start' })
    const observer = new ResizeObserver(go)
    observer.observe(document.body)
    const main = document.getElementById('main')
    if (main) observer.observe(main)
    const end = () => {
      observer.disconnect()
      for (const name of HANDS) removeEventListener(name, end)
    }
    const late = setTimeout(end, 10_000)
    for (const name of HANDS) addEventListener(name, end, { passive: true })
    return () => {
      clearTimeout(late)
      end()
    }
  }, [path])
}

/** What a person does to go elsewhere. */
const HANDS = ['wheel', 'touchmove', 'keydown', 'pointerdown'] as const

export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (changed: () => void) => {
      const m = matchMedia(query)
      m.addEventListener('change', changed)
      return () => m.removeEventListener('change', changed)
    },
    [query],
  )
  return useSyncExternalStore(subscribe, () => matchMedia(query).matches)
}

/** Rows beside the screen that are drawn, too: what one turn of the wheel brings. */
const OVERSCAN = 15

/** The rows of a long list that are on the screen, and some beside them. */
export function useWindow(element: HTMLElement | null, count: number, rowHeight: number): { first: number; last: number } {
  const [range, setRange] = useState({ first: 0, last: Math.min(count, 120) })
  useEffect(() => {
    if (!element) return
    const measure = () => {
      const top = element.getBoundingClientRect().top
      // By tens, so that most scrolling draws nothing anew.
      const first = Math.max(0, Math.floor((-top / rowHeight - OVERSCAN) / 10) * 10)
      const last = Math.min(count, Math.ceil(((innerHeight - top) / rowHeight + OVERSCAN) / 10) * 10)
      setRange((r) => (r.first === first && r.last === last ? r : { first: Math.min(first, count), last: Math.max(last, 0) }))
    }
    measure()
    addEventListener('scroll', measure, { passive: true })
    addEventListener('resize', measure)
    return () => {
      removeEventListener('scroll', measure)
      removeEventListener('resize', measure)
    }
  }, [element, count, rowHeight])
  return range
}

export function useTitle(title: string) {
  useEffect(() => {
    document.title = title ? title + ' · hoptrace' : 'hoptrace'
  }, [title])
}
