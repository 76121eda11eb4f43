/** What a completion puts into a query. */
export interface Piece {
  insert: string
}

/** The query with a completion in place of what stands between from and to, and where the caret is then. */
export function complete(q: string, from: number, to: number, item: Piece): { q: string; at: number } {
  const rest = q.slice(to)
  // A value is whole: a space follows it. A key goes on with its value.
  const whole = !/[:<>=]$/.test(item.insert) && !/\s$/.test(item.insert)
  const text = item.insert + (whole && !/^[\s)\],]/.test(rest) ? ' ' : '')
  return { q: q.slice(0, from) + text + rest, at: from + text.length }
}

/** Whether a key stands as it is in a query; else in quotes. */
const BARE_KEY = /^[A-Za-z_\u0080-\uffff][\w.\-/@$\u0080-\uffff]*$/

function quoted(s: string): string {
  return '"' + s.replaceAll('\\', '\\\\').replaceAll('"', '\\"') + '"'
}

/** A value as a query takes it. */
export function valueOf(s: string): string {
  return s === '' || /[\s"()[\],*\\]/.test(s) || /^[<>=:]/.test(s) || s.startsWith('//') ? quoted(s) : s
}

/** The term key:value. attribute: the key is none of the language. */
export function term(key: string, value: string, attribute = false): string {
  const bare = BARE_KEY.test(key) && key.toLowerCase() !== 'has'
  return (attribute && !bare ? quoted(key) : key) + ':' + valueOf(value)
}

/** The query with a term more; what holds alternatives is put in parentheses first. */
export function withTerm(q: string, t: string): string {
  const s = q.trim()
  if (s === '') return t
  if (s.split(/\s+/).includes(t)) return s
  return (hasOr(s) ? '(' + s + ')' : s) + ' ' + t
}

/** Whether alternatives stand outside parentheses and quotes. */
function hasOr(s: string): boolean {
  let depth = 0
  let inside = false
  let word = ''
  for (let i = 0; i <= s.length; i++) {
    const c = s[i]
    if (inside) {
      if (c === '\\') i++
      else if (c === '"') inside = false
      continue
    }
    if (c === '"') inside = true
    else if (c === '(') depth++
    else if (c === ')') depth--
    if (c === undefined || /\s/.test(c)) {
      if (word === 'OR' && depth === 0) return true
      word = ''
    } else word += c
  }
  return false
}

/** A word as a shell takes it. */
export function shellWord(s: string): string {
  return /^[\w@%+=:,./-]+$/.test(s) ? s : "'" + s.replaceAll("'", "'\\''") + "'"
}

/** The search as a command of the terminal. */
export function asCommand(server: string, subject: string, params: Record<string, string | undefined>): string {
  const words = ['hoptrace', 'query', subject]
  if (params['q']) words.push(shellWord(params['q']))
  words.push('--server', server)
  for (const name of ['from', 'to', 'order', 'project']) {
    const v = params[name]
    if (v) words.push('--' + name, shellWord(v))
  }
  return words.join(' ')
}

/** The search as a request. */
export function asCurl(server: string, path: string, params: Record<string, string | undefined>): string {
  const words = ['curl -sSG', shellWord(server + path)]
  for (const [name, v] of Object.entries(params)) if (v) words.push('--data-urlencode ' + shellWord(name + '=' + v))
  return words.join(' \\\n  ')
}
