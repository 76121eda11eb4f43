// Lays out beside the page, which stays quick meanwhile.
import { layout, type LaidEdge, type LaidNode } from './layout'

export interface Work {
  nodes: LaidNode[]
  edges: LaidEdge[]
}

addEventListener('message', (e: MessageEvent<Work>) => {
  postMessage(layout(e.data.nodes, e.data.edges))
})
