import { useEffect, useState } from 'react'
import type { LaidEdge, LaidNode, Layout } from './layout'
import type { Work } from './layout.worker'

export interface Laid {
  /** The last layout that was finished; it may be of other nodes while the next is made. */
  layout: Layout | undefined
  busy: boolean
  error: Error | undefined
}

/** The layout of a graph. Numbers may change without one; other ids make a new one. */
export function useLayout(nodes: readonly LaidNode[] | undefined, edges: readonly LaidEdge[] | undefined): Laid {
  const key = nodes && edges ? [...nodes.map((n) => n.id).sort(), '', ...edges.map((e) => e.id).sort()].join('\n') : ''
  const [done, setDone] = useState<{ key: string; layout?: Layout; error?: Error }>({ key: '' })
  useEffect(() => {
    if (!key || !nodes || !edges) return
    const worker = new Worker(new URL('./layout.worker.ts', import.meta.url), { type: 'module' })
    worker.onmessage = (e: MessageEvent<Layout>) => setDone({ key, layout: e.data })
    worker.onerror = (e) => setDone((d) => ({ ...d, key, error: new Error(e.message || 'the layout could not be made') }))
    const work: Work = { nodes: nodes.map(({ id }) => ({ id })), edges: edges.map(({ id, kind, from, to }) => ({ id, kind, from, to })) }
    worker.postMessage(work)
    return () => worker.terminate()
    // The key says all that the layout depends on.
  }, [key])
  return { layout: done.layout, busy: key !== '' && done.key !== key, error: done.key === key ? done.error : undefined }
}
