/** Where the pages before and behind one begin; undefined where there is none, and when all rows are shown. */
export function pageOf(skip: number, shown: number, total: number, size: number): { before: number | undefined; more: number | undefined } | undefined {
  if (total === 0 || (skip === 0 && shown >= total)) return undefined
  // One may be behind the last page: rows went away, or the link was written by hand.
  const last = Math.floor((total - 1) / size) * size
  return { before: skip > 0 ? Math.min(Math.max(skip - size, 0), last) : undefined, more: shown > 0 && skip + shown < total ? skip + shown : undefined }
}
