/** A line that would not be seen: most of its points stand alone. */
export function sparse(values: readonly (number | null)[]): boolean {
  let known = 0
  let alone = 0
  values.forEach((v, i) => {
    if (v === null) return
    known++
    if ((values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) alone++
  })
  return known > 0 && alone * 2 >= known
}
