import { expect, it } from 'vitest'
import type { Status } from '../../api/types'
import { firstRunTabs } from './lines'

const status: Status = {
  version: '1', now: '1', project: '2', hasSpans: false, hasEvents: false,
  projects: [
    { id: '1', slug: 'a', name: 'A', dsns: ['http://aaa@h/1'] },
    { id: '2', slug: 'b', name: 'B', dsns: ['http://bbb@h/2'] },
  ],
  endpoints: { otlpGrpc: '10.0.0.1:9999', otlpHttp: 'http://10.0.0.1:9998', sentry: 'http://10.0.0.1:9998', kafka: '' },
}

it('the lines carry the addresses and the DSN of the project that is looked at', () => {
  const all = firstRunTabs(status).map((t) => t.steps.map((s) => s.lines).join('\n'))
  expect(all[0]).toContain('Endpoint:     "http://10.0.0.1:9999"')
  expect(all[1]).toContain('OTEL_EXPORTER_OTLP_ENDPOINT=http://10.0.0.1:9998')
  expect(all[2]).toContain('SENTRY_DSN=http://bbb@h/2')
})

it('without a DSN the tab says why', () => {
  expect(firstRunTabs({ ...status, projects: [] })[2]?.steps[0]?.say).toContain('no DSN to show')
})
