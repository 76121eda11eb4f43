import { decoded } from '../../lib/location'

/** The path of a record's page; undefined when its coordinates are not told. */
export function recordPath(r: { topic: string; partition: number | null; offset: number | null }): string | undefined {
  return r.topic === '' || r.partition === null || r.offset === null ? undefined : `/records/${encodeURIComponent(r.topic)}/${r.partition}/${r.offset}`
}

/**
 * What the path of a record's page names. It is read from the path as the browser has it:
 * the router decodes once before it matches, and what it hands over cannot be told from
 * a name that has a per cent sign of its own.
 */
export function placeOf(path: string): { topic: string; partition: string; offset: string } {
  const [topic = '', partition = '', offset = ''] = path.split('/').slice(2).map(decoded)
  return { topic, partition, offset }
}
