/** Steps of an axis that counts: no two of its marks are the same number. */
export const WHOLE: readonly number[] = [1, 2, 5].flatMap((n) => Array.from({ length: 10 }, (_, e) => n * 10 ** e)).sort((a, b) => a - b)

/** The words of marks of time, in seconds: with seconds or a date where two of them would be the same without. */
export function clockMarks(marks: readonly number[]): string[] {
  const step = marks.length > 1 ? marks[1]! - marks[0]! : 60
  const long = marks.length > 1 && marks[marks.length - 1]! - marks[0]! > 24 * 3600
  return marks.map((t) => {
    const d = new Date(t * 1000)
    const hm = d.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...(step < 60 ? { second: '2-digit' } : {}) })
    return long ? d.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' }) + (hm === '00:00' ? '' : ' ' + hm) : hm
  })
}
