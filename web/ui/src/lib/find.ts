import { xxhash64 } from './xxhash'

/** What a look-up sends: a key's text stays in the browser, its hash goes. */
export function asked(typed: string): string {
  const s = typed.trim()
  const m = /^key:\s*(.*)$/is.exec(s)
  if (!m) return s
  const value = m[1]!
  const quoted = /^"(.*)"$/s.exec(value)
  if (quoted) return 'key:' + xxhash64(quoted[1]!)
  // A hash, as text of 16 hex digits or as the long decimal of a span's attribute, goes as it is.
  return value === '' || /^[0-9a-f]{16}$/i.test(value) || /^\d{17,20}$/.test(value) ? s : 'key:' + xxhash64(value)
}

/** Whether what was typed names one thing, so that a page without a filter for it looks it up. */
export function looksUp(typed: string): boolean {
  const s = typed.trim()
  return (
    /^[^\s/]+\/\d+@\d+$/.test(s) ||
    /^[^\s]+-\d+@\d+$/.test(s) ||
    /^\S+\s+p?\d+\s+(·\s*)?[\d\u202f]+$/.test(s) ||
    /^(key|id|message|conversation|correlation|trace|span|record):/i.test(s) ||
    /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/i.test(s) ||
    /^[0-9a-f]{16}$/i.test(s) ||
    /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(s)
  )
}
