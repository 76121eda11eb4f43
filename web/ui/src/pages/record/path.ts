/** The path of a record's page; undefined when its coordinates are not told. */
export function recordPath(r: { topic: string; partition: number | null; offset: number | null }): string | undefined {
  return r.topic === '' || r.partition === null || r.offset === null ? undefined : `/records/${encodeURIComponent(r.topic)}/${r.partition}/${r.offset}`
}
