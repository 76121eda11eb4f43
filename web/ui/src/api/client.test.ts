import { describe, expect, it } from 'vitest'
import { refusal } from './client'

const answer = (status: number, body: string) => new Response(body, { status })

describe('what the server says instead of an answer', () => {
  it('is read from a problem', async () => {
    const p = { type: 'urn:hoptrace:problem:bad_parameter', title: 'Bad parameter', status: 400, detail: 'parameter "limit" is "0"', instance: '/api/v1/traces?limit=0', code: 'bad_parameter', wayOut: 'accepted: 1 to 500', param: 'limit' }
    const e = await refusal(answer(400, JSON.stringify(p)), '/api/v1/traces?limit=0')
    expect([e.code, e.message, e.hint, e.param, e.status, e.question]).toEqual(['bad_parameter', p.detail, p.wayOut, 'limit', 400, '/api/v1/traces?limit=0'])
  })
  it('says when to ask again', async () => {
    expect((await refusal(answer(503, '{"code":"busy","detail":"16 questions","wayOut":"again","retryAfter":7}'), '')).retryAfter).toBe(7)
  })
  it('is not taken from something in between', async () => {
    for (const body of ['<html>Bad gateway</html>', '{"message":"no"}', 'null']) {
      expect((await refusal(answer(502, body), '/x')).code).toBe('http_502')
    }
  })
})
