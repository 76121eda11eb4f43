/** px of a character of 11 px, about, where there is no page to measure on. */
const CHARACTER = 6.2
const BOLD = 7.2

const known = new Map<string, number>()
const MOST_KNOWN = 4000
let pen: CanvasRenderingContext2D | null | undefined
let family = ''

/** The px that a text of a picture takes, as this browser's font draws it. */
export function textWidth(text: string, bold = false): number {
  const key = (bold ? 'b' : 'r') + text
  const before = known.get(key)
  if (before !== undefined) return before
  if (pen === undefined) {
    pen = typeof document === 'undefined' ? null : document.createElement('canvas').getContext('2d')
    if (pen) family = getComputedStyle(document.documentElement).getPropertyValue('--font') || 'sans-serif'
  }
  if (!pen) return text.length * (bold ? BOLD : CHARACTER)
  pen.font = `${bold ? 600 : 400} 11px ${family}`
  const width = pen.measureText(text).width
  if (known.size >= MOST_KNOWN) known.clear()
  known.set(key, width)
  return width
}

/** The text, cut in its middle so that it takes no more than so many px. */
export function fitted(text: string, width: number, bold = false): string {
  if (textWidth(text, bold) <= width) return text
  const letters = [...text]
  let low = 0
  let high = letters.length
  const cut = (n: number) => letters.slice(0, Math.ceil(n / 2)).join('') + '…' + letters.slice(letters.length - Math.floor(n / 2)).join('')
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (textWidth(cut(middle), bold) <= width) low = middle
    else high = middle - 1
  }
  return cut(low)
}
