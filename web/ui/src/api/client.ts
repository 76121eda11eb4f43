import type { paths } from './schema'

/** The answer of one route of the API. */
export type Answer<P extends keyof paths> = paths[P] extends { get: { responses: { 200: { content: { 'application/json': infer T } } } } } ? T : never

export type Params = Record<string, string | number | boolean | undefined>

/** What the API says when it does not answer; code "network" when nobody answered at all. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    /** The question that failed, as it was asked. */
    readonly question: string,
    readonly status: number,
  ) {
    super(message)
  }
}

/** The path with its parameters; empty and false ones are left out. */
export function question(path: string, params: Params = {}): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== '' && value !== false) q.set(name, String(value))
  }
  const s = q.toString()
  return '/api/v1' + path + (s ? '?' + s : '')
}

export async function ask<P extends keyof paths>(path: string, params: Params, signal?: AbortSignal): Promise<Answer<P>> {
  const url = question(path, params)
  let response: Response
  try {
    response = await fetch(url, { signal: signal ?? null, headers: { Accept: 'application/json' } })
  } catch (e) {
    if (signal?.aborted) throw e
    throw new ApiError('network', 'the server does not answer', 'is hoptrace running? the question is asked again on retry', url, 0)
  }
  if (response.ok) return (await response.json()) as Answer<P>
  const { code, message, hint } = await readError(response)
  throw new ApiError(code, message, hint, url, response.status)
}

type Method = 'put' | 'post'

/** What one action takes. */
export type ActionBody<P extends keyof paths, M extends Method> = paths[P] extends { [K in M]: { requestBody: { content: { 'application/json': infer T } } } } ? T : never

/** What one action answers. */
export type ActionAnswer<P extends keyof paths, M extends Method> = paths[P] extends { [K in M]: { responses: { 200: { content: { 'application/json': infer T } } } } } ? T : never

/** Does one action. */
export async function act<P extends keyof paths, M extends Method>(method: M, path: string, params: Params, body: ActionBody<P, M>): Promise<ActionAnswer<P, M>> {
  const url = question(path, params)
  let response: Response
  try {
    response = await fetch(url, { method: method.toUpperCase(), headers: { Accept: 'application/json', 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  } catch {
    throw new ApiError('network', 'the server does not answer', 'is hoptrace running? nothing may have changed; doing it again is safe', url, 0)
  }
  if (response.ok) return (await response.json()) as ActionAnswer<P, M>
  const { code, message, hint } = await readError(response)
  throw new ApiError(code, message, hint, url, response.status)
}

async function readError(response: Response): Promise<{ code: string; message: string; hint: string }> {
  try {
    const body = (await response.json()) as { error?: { code?: string; message?: string; hint?: string } }
    if (body.error) return { code: body.error.code ?? 'error', message: body.error.message ?? '', hint: body.error.hint ?? '' }
  } catch {
    // not ours: a proxy in between
  }
  return { code: 'http_' + response.status, message: `the answer was HTTP ${response.status} and no JSON`, hint: 'something between the browser and hoptrace answered' }
}
