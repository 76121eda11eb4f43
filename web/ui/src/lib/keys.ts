import { useEffect, useRef } from 'react'

export type Keys = Record<string, () => void>

/** Whether somebody is writing, so that letters are letters. */
function writing(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement && /^(checkbox|radio)$/.test(target.type)) return false
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
}

const SEQUENCE_MS = 1500

/**
 * Keys while the component is on the page: "z", "?", or "g t" for two in a row.
 * What was registered last answers first. With a modifier, in a field or within
 * a dialog nothing is taken, but for Escape.
 */
const layers: { keys: Keys }[] = []
let prefix: { key: string; at: number } | undefined

function onKey(e: KeyboardEvent) {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return
  if (writing(e.target)) {
    if (e.key === 'Escape') (e.target as HTMLElement).blur()
    return
  }
  if (document.querySelector('dialog[open], [popover]:popover-open')) return
  const twice = prefix && e.timeStamp - prefix.at < SEQUENCE_MS ? prefix.key + ' ' + e.key : undefined
  prefix = undefined
  for (const name of twice ? [twice, e.key] : [e.key]) {
    for (const layer of [...layers].reverse()) {
      const act = layer.keys[name]
      if (act) {
        e.preventDefault()
        act()
        return
      }
    }
  }
  if (layers.some((l) => Object.keys(l.keys).some((k) => k.startsWith(e.key + ' ')))) prefix = { key: e.key, at: e.timeStamp }
}

export function useKeys(keys: Keys) {
  const layer = useRef({ keys })
  useEffect(() => {
    layer.current.keys = keys
  })
  useEffect(() => {
    const own = layer.current
    if (layers.length === 0) addEventListener('keydown', onKey)
    layers.push(own)
    return () => {
      layers.splice(layers.indexOf(own), 1)
      if (layers.length === 0) removeEventListener('keydown', onKey)
    }
  }, [])
}

/** The place of the row that has the focus, in its link or beside it; -1 for none. */
export function focusedRow(rows: readonly HTMLElement[]): number {
  const at = rows.findIndex((r) => r === document.activeElement)
  const line = document.activeElement?.closest('tr')
  return at >= 0 || !line ? at : rows.findIndex((r) => r.closest('tr') === line)
}

/** j and k move the focus over the links marked data-row; Enter is the link's own. */
export function useRowKeys() {
  const move = (step: number) => {
    const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')]
    if (rows.length === 0) return
    const at = focusedRow(rows)
    const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)]
    next?.focus()
    next?.scrollIntoView({ block: 'nearest' })
  }
  useKeys({ j: () => move(1), k: () => move(-1) })
}
